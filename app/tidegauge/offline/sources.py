"""Converts files of events to lines of JSON, one for each event. Reads JSON, CSV, Parquet and Arrow, compressed or not, from
one file, many files (a pattern) or a pipe. A file that cannot be read is refused with a message that says what to do."""

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
    """Yield the events of a file, of files that match a pattern (``part-*.parquet``, ordered by name) or of ``-`` (standard
    input), each as a line of JSON without line end. ``note``: called with what is left out. Raises SourceError."""
    for path in expand(given):
        try:
            yield from _lines(path, columns, note)
        except SourceError:
            raise
        except (OSError, EOFError, UnicodeError, zlib.error, lzma.LZMAError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise SourceError(f"{path}: cannot be read: {reason}") from error


def expand(given: Path) -> list[Path]:
    """The given file, or the files that match a pattern, ordered by name. Raises SourceError if none matches."""
    if str(given) == "-":
        return [STANDARD_INPUT]
    if given.exists() or not glob.has_magic(str(given)):
        return [given]
    found = [Path(name) for name in sorted(glob.glob(str(given), recursive=True)) if not Path(name).is_dir()]
    if not found:
        raise SourceError(f"{given}: no file matches; a pattern such as 'day-*.jsonl' is wanted in quotes")
    return found


def plain_lines(given: Path) -> Path | None:
    """The file itself if it is a single regular file of JSON lines, which needs no conversion; else None."""
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
            # Tables, and JSON over several lines, are read more than once from their beginning.
            file = held.enter_context(_copy(file))
        if kind == "json":
            yield from _values(file)
        elif kind == "csv":
            yield from csv_events(file, str(path), columns, note)
        else:
            read = parquet_events if kind == "parquet" else arrow_events
            yield from read(file, str(path), columns, note)


def _kind(path: Path, head: bytes) -> Kind:
    """The kind of a file, by the ending of its name or, if that is unknown (as for a pipe), by its beginning."""
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
    """Whether JSON that begins with ``head`` may be an array of events, as pandas' ``to_json(orient="records")`` writes, or
    have events that extend over several lines."""
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()
    return begin.startswith(b"[") or begin.split(b"\n", 1)[0].strip() == b"{"


def _values(file: BinaryIO) -> Iterator[bytes]:
    """Yield the events of such a file, each as one line; if the file as a whole is not JSON, its lines unchanged."""
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
    """Yield the non-empty lines of chunks that each end with a line feed. Line ends of all systems are removed (JSON texts
    contain none), as is a byte order mark.

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
    """The first bytes of a file or a pipe, without consuming them."""
    return file.peek(1 << 12)  # type: ignore[attr-defined,no-any-return]


def _copy(file: BinaryIO) -> BinaryIO:
    """A copy of the rest of a file as a temporary file."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy
