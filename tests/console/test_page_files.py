"""The pages' files are small on the wire, are sent once, and are all named where a browser begins."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.serving import Running, running
from tidegauge.console.view import View

STATIC = Path(__file__).parents[2] / "app/tidegauge/console/static"


@pytest.fixture(scope="module")
def console() -> Iterator[Running]:
    with running(View()) as started:
        yield started


def paths() -> list[str]:
    files = [file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.is_file()]
    return ["/" if name == "index.html" else f"/{name}" for name in sorted(files)]


def test_a_file_is_the_same_packed_and_plain_and_is_sent_once(console: Running) -> None:
    assert len(paths()) > 25
    for path in paths():
        status, headers, plain = console.ask(path)
        _, packed_headers, packed = console.ask(path, headers={"Accept-Encoding": "gzip, br"})
        assert (status, packed_headers["Content-Encoding"], headers["Content-Encoding"]) == (200, "gzip", None), path
        assert gzip.decompress(packed) == plain
        if path != "/":
            assert plain == (STATIC / path[1:]).read_bytes()
        status, _, again = console.ask(path, headers={"If-None-Match": headers["ETag"]})
        assert (status, again) == (304, b"")
        assert console.ask(path, headers={"If-None-Match": 'W/"older"'})[0] == 200


def test_the_first_page_names_every_module_that_is_imported(console: Running) -> None:
    page = console.ask("/")[2].decode()
    named = re.findall(r'rel="modulepreload" href="([^"]+)"', page)
    assert sorted(named) == [path[1:] for path in paths() if path.endswith(".js") and "/vendor/" not in path]
    imported = {
        (file.parent / name).resolve().relative_to(STATIC.resolve()).as_posix()
        for file in STATIC.rglob("*.js") if file.parent.name != "vendor"
        for name in re.findall(r'^import .*? from "(.+?)";$', file.read_text("utf-8"), re.MULTILINE)
    }  # fmt: skip
    assert imported <= set(named)
    assert len(imported) > 20


def test_the_pages_and_all_they_need_are_less_than_a_hundred_kilobytes(console: Running) -> None:
    sizes = {path: len(console.ask(path, headers={"Accept-Encoding": "gzip"})[2]) for path in paths() if "LICENSE" not in path}
    assert sum(sizes.values()) < 100_000, sizes
