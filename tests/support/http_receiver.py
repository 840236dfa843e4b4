"""An HTTP server that receives what tidegauge posts, as tests need it for many protocols."""

from __future__ import annotations

import gzip
import http.server
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple, Self

import cramjam

UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "snappy": lambda body: bytes(cramjam.snappy.decompress_raw(body)),
}
"""By content encoding."""


class Answer(NamedTuple):
    """The answer to a request."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/plain"


class HttpReceiver(ABC):
    """Use as a context manager; ``url`` is the server's address."""

    def __init__(self) -> None:
        take = self.take

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = take(self.path, UNPACK.get(self.headers.get("Content-Encoding", ""), bytes)(body))
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @abstractmethod
    def take(self, path: str, body: bytes) -> Answer:
        """Take the unpacked ``body`` of a request."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
