"""How large input records are, of which a few may be as large as many thousands of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tidegauge.engine.stage import InputRecord


class Piece(NamedTuple):
    """Some records, and the ``size`` in bytes of their values together."""

    records: Sequence[InputRecord]
    size: int


def bytes_of(records: Sequence[InputRecord]) -> int:
    """The bytes of the values of these records."""
    return sum(_sizes(records))


def _sizes(records: Sequence[InputRecord]) -> list[int]:
    return [len(record.value or b"") for record in records]


def pieces(records: Sequence[InputRecord], most: int) -> Iterator[Piece]:
    """The records in order, in pieces of at most so many bytes, or of one record."""
    sizes = _sizes(records)
    begin = size = 0
    for place, of in enumerate(sizes) if sum(sizes) > most else ():
        if place > begin and size + of > most:
            yield Piece(records[begin:place], size)
            begin, size = place, 0
        size += of
    if sizes:
        yield Piece(records[begin:] if begin else records, sum(sizes[begin:]))
