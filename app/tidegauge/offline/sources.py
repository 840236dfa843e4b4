"""Files of events to lines of JSON, one an event: JSON, CSV, Parquet or Arrow, compressed or not, one file, many (a pattern)
or a pipe. A file that cannot be read is refused with a message that says what to do."""

from __future__ import annotations

import bz2
import codecs
import glob
import gzip
import json
import lzma
import os
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tidegauge.errors import SourceError
from tidegauge.offline.tables import Columns, arrow_events, csv_events, parquet_events

STANDARD_INPUT = Path("/dev/stdin")
Kind = Literal["json", "csv", "parquet", "arrow"]
_ENDINGS: dict[str, Kind] = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_BEGINNINGS: dict[bytes, Kind] = {b"PAR1": "parquet", b"ARROW1": "arrow"}
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
_REFUSED = {
    b"PK\x03\x04": "is a zip archive or a spreadsheet; unpack it, or save it as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; give its content, as `zstdcat FILE | tidegauge … -` does",
    b"ORC": "is an ORC table; write it as Parquet",
    b"Obj\x01": "is an Avro file; write it as JSONL or Parquet",
}
_SPACE = re.compile(r"\s*")
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def event_lines(given: Path, columns: Columns, note: Callable[[str], None]) -> Iterator[bytes]:
    """The events of a file, a pattern of files (``part-*.parquet``, in the order of their names) or ``-`` (standard input), one
    non-empty line of JSON each, without its line end. ``note`` is told of what is left out. Raises SourceError."""
    for path in expand(given):
        try:
            yield from _lines(path, columns, note)
        except SourceError:
            raise
        except (OSError, EOFError, UnicodeError, zlib.error, lzma.LZMAError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise SourceError(f"{path}: cannot be read: {reason}") from error


def expand(given: Path) -> list[Path]:
    """The files meant: the one given, or those a pattern matches, by name. Raises SourceError where there are none."""
    if str(given) == "-":
        return [STANDARD_INPUT]
    if given.exists() or not glob.has_magic(str(given)):
        return [given]
    found = [Path(name) for name in sorted(glob.glob(str(given), recursive=True)) if not Path(name).is_dir()]
    if not found:
        raise SourceError(f"{given}: no file matches; a pattern such as 'day-*.jsonl' is wanted in quotes")
    return found


def plain_lines(given: Path) -> Path | None:
    """The file itself where it is one regular file of nothing but JSON lines, which needs no reading through; else None."""
    paths = expand(given)
    if len(paths) > 1 or not paths[0].is_file():
        return None
    with paths[0].open("rb") as file:
        head = file.read(1 << 16)
    bare = head.replace(b"\r\n", b"\n").removesuffix(b"\r")
    marked = head.startswith((*_COMPRESSED, *_REFUSED, codecs.BOM_UTF8, *_UTF16))
    plain = not marked and _kind(paths[0], head) == "json" and b"\r" not in bare and not _over_lines(head)
    return paths[0] if plain else None


def _lines(path: Path, columns: Columns, note: Callable[[str], None]) -> Iterator[bytes]:
    if path.is_dir():
        raise SourceError(f"{path}: is a directory; name its files, as '{path / '*.parquet'}' does")
    with ExitStack() as held:
        file: BinaryIO = held.enter_context(path.open("rb"))
        unpacked = next((unpacked for mark, unpacked in _COMPRESSED.items() if _peek(file).startswith(mark)), None)
        if unpacked is not None:
            file = held.enter_context(unpacked(file))
        for mark, reason in _REFUSED.items():
            if _peek(file).startswith(mark):
                raise SourceError(f"{path}: {reason}")
        if _peek(file).startswith(_UTF16):
            file = held.enter_context(_copy(codecs.EncodedFile(file, "utf-8", "utf-16")))
        kind = _kind(path, _peek(file))
        if kind == "json" and not _over_lines(_peek(file)):
            yield from split_lines(file)
            return
        if unpacked is not None or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            # Tables are read from their beginning more than once, and so is JSON over several lines.
            file = held.enter_context(_copy(file))
        if kind == "json":
            yield from _values(file)
        elif kind == "csv":
            yield from csv_events(file, str(path), columns, note)
        else:
            read = parquet_events if kind == "parquet" else arrow_events
            yield from read(file, str(path), columns, note)


def _kind(path: Path, head: bytes) -> Kind:
    """By its ending, and where that says nothing (a pipe) by how it begins."""
    name = path if path.suffix.lower() not in (".gz", ".bz2", ".xz") else path.with_suffix("")
    for mark, kind in _BEGINNINGS.items():
        if head.startswith(mark):
            return kind
    if name.suffix.lower() in _ENDINGS:
        return _ENDINGS[name.suffix.lower()]
    first = head.removeprefix(codecs.BOM_UTF8).split(b"\n", 1)[0]
    titles = {title.strip(b' "\r') for title in first.replace(b";", b",").replace(b"\t", b",").split(b",")}
    return "csv" if b"{" not in first and titles & {b"request_id", b"ts"} else "json"


def _over_lines(head: bytes) -> bool:
    """Whether JSON that begins so may be an array of events, as pandas' ``to_json(orient="records")`` writes, or have events
    over several lines."""
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return begin.startswith(b"[") or begin.split(b"\n", 1)[0].strip() == b"{"


def _values(file: BinaryIO) -> Iterator[bytes]:
    """The events of such a file, one a line; its lines as they are where it is no JSON as a whole."""
    try:
        text = file.read().decode("utf-8-sig")
        decode, found = json.JSONDecoder().raw_decode, []
        place = _SPACE.match(text).end()  # type: ignore[union-attr]
        while place < len(text):
            value, end = decode(text, place)
            found += value if isinstance(value, list) else [value]
            place = _SPACE.match(text, end).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError):
        file.seek(0)
        yield from split_lines(file)
        return
    for value in found:
        yield json.dumps(value).encode()


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The non-empty lines of chunks that each end with a line feed, without their line ends, of whatever system (JSON has none
    within a text), and without a byte order mark.

    >>> list(split_lines([b'\\xef\\xbb\\xbf{}\\r\\n', b'\\n', b'{}\\r{}']))
    [b'{}', b'{}', b'{}']
    """
    mark = codecs.BOM_UTF8
    for chunk in chunks:
        line = chunk.removeprefix(mark).strip()
        mark = b""
        if b"\r" in line:
            yield from (part.strip() for part in line.split(b"\r") if part.strip())
        elif line:
            yield line


def _peek(file: BinaryIO) -> bytes:
    """The first bytes, without reading on: also of a pipe."""
    return file.peek(1 << 12)  # type: ignore[attr-defined,no-any-return]


def _copy(file: BinaryIO) -> BinaryIO:
    """What can be read of a file, as a file on disk that vanishes with it."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy
