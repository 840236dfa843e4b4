"""How often each value of a number was met, where it has few: exact, where a quantile sketch knows shares to a thousandth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.counts import pack_counts, unpack_counts

MAX_VALUES = 32
"""A number of more values than this is one of many: it has no table."""

Table = tuple[NDArray[np.float64], NDArray[np.int64]]
"""Values (V, ascending) and their counts (V)."""
EMPTY: Table = (np.zeros(0), np.zeros(0, np.int64))


def of_sorted(values: NDArray[np.float64]) -> Table | None:
    """The table of ascending ``values`` (n); None where they are many.

    >>> [of.tolist() for of in of_sorted(np.array([0.0, 0.0, 1.0]))]
    [[0.0, 1.0], [2, 1]]
    """
    starts = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)[: len(values)]
    if len(starts) > MAX_VALUES:
        return None
    return values[starts], np.diff(starts, append=len(values))


def merge(a: Table | None, b: Table | None) -> Table | None:
    if a is None or b is None:
        return None
    values = np.union1d(a[0], b[0])
    if len(values) > MAX_VALUES:
        return None
    counts = np.zeros(len(values), np.int64)
    for of in (a, b):
        counts[np.searchsorted(values, of[0])] += of[1]
    return values, counts


def pack(table: Table) -> tuple[bytes, tuple[int, bytes]]:
    return table[0].tobytes(), pack_counts(table[1])


def unpack(packed: Sequence[bytes | tuple[int, bytes]]) -> Table:
    values, counts = packed
    assert isinstance(values, bytes)
    return np.frombuffer(values, np.float64), unpack_counts(*counts)
