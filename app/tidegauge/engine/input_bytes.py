"""How large input records are, of which a few may be as large as many thousands of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidegauge.engine.stage import InputRecord


def bytes_of(records: Sequence[InputRecord]) -> int:
    """The bytes of the values of these records."""
    return sum(_sizes(records))


def _sizes(records: Sequence[InputRecord]) -> list[int]:
    return [len(record.value or b"") for record in records]


def pieces(records: Sequence[InputRecord], most: int) -> Iterator[Sequence[InputRecord]]:
    """The records in order, in pieces whose values have at most so many bytes together, or of one record."""
    sizes = _sizes(records)
    if sum(sizes) <= most:
        if sizes:
            yield records
        return
    begin = size = 0
    for place, of in enumerate(sizes):
        if place > begin and size + of > most:
            yield records[begin:place]
            begin, size = place, 0
        size += of
    yield records[begin:]
