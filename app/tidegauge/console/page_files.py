"""The files of the pages: read once, so that no other can be asked for; sent compressed, and only where they have changed."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from aiohttp import web

from tidegauge.console import guard
from tidegauge.console.guard import problem

MODULES = b"<!-- modules -->"
"""Where the page names all its modules, so that a browser asks for them at once and not one after another's imports."""


class PageFile(NamedTuple):
    """A file with its content type; ``packed``: compressed by gzip; ``tag``: changes with the content."""

    kind: str
    body: bytes
    packed: bytes
    tag: str


@cache
def page_files() -> dict[str, PageFile]:
    """The files by the path that they are served at."""
    bodies = dict(_read(resources.files("tidegauge.console") / "static", "/"))
    modules = sorted(path.removeprefix("/") for path in bodies if path.endswith(".js") and "/vendor/" not in path)
    links = "\n".join(f'<link rel="modulepreload" href="{module}">' for module in modules)
    bodies["/"] = bodies.pop("/index.html").replace(MODULES, links.encode())
    return {path: _file(path, body) for path, body in bodies.items()}


def serving(file: PageFile) -> guard.Handler:
    """Returns the handler that serves a file."""

    @guard.open_to_all
    async def serve(request: web.Request) -> web.StreamResponse:
        if request.query_string and request.path == "/":
            # A token in an address would be stored in browser histories and logs.
            return problem(400, "the console's addresses have no query; sign in on the page")
        headers = {"Cache-Control": "no-cache", "ETag": file.tag, "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == file.tag:
            return web.Response(status=304, headers=headers)
        packs = "gzip" in request.headers.get("Accept-Encoding", "")
        charset = "utf-8" if file.kind.startswith("text/") else None
        more = {"Content-Encoding": "gzip"} if packs else {}
        return web.Response(
            body=file.packed if packs else file.body, content_type=file.kind, charset=charset, headers=headers | more
        )

    return serve


def _read(directory: Any, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{path}{entry.name}/")
        else:
            yield path + entry.name, entry.read_bytes()


def _file(path: str, body: bytes) -> PageFile:
    kind = "text/html" if path == "/" else mimetypes.guess_type(path)[0] or "application/octet-stream"
    kind = "text/javascript" if path.endswith(".js") else kind
    return PageFile(kind, body, gzip.compress(body, mtime=0), f'W/"{hashlib.sha256(body).hexdigest()[:16]}"')
