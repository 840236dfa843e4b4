"""How often each value of a numeric feature occurred, for features with few values. These counts are exact, while a quantile
sketch knows the share of a value only within about 0.001."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.counts import pack_counts, unpack_counts

MAX_VALUES = 32
"""A feature with more values than this has no table."""


class Table(NamedTuple):
    """The ``values`` that occurred (V, ascending), and how often each of them did (V)."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]


EMPTY = Table(np.zeros(0), np.zeros(0, np.int64))


def of_sorted(values: NDArray[np.float64]) -> Table | None:
    """The table of ascending ``values`` (n); None if more than MAX_VALUES are distinct.

    >>> [of.tolist() for of in of_sorted(np.array([0.0, 0.0, 1.0]))]
    [[0.0, 1.0], [2, 1]]
    """
    starts = np.append(0, np.flatnonzero(values[1:] != values[:-1]) + 1)[: len(values)]
    if len(starts) > MAX_VALUES:
        return None
    return Table(values[starts], np.diff(starts, append=len(values)))


def merge(a: Table | None, b: Table | None) -> Table | None:
    """The table of both together; None if either is None, or if they have more than MAX_VALUES distinct values."""
    if a is None or b is None:
        return None
    values = np.union1d(a.values, b.values)
    if len(values) > MAX_VALUES:
        return None
    counts = np.zeros(len(values), np.int64)
    for of in (a, b):
        counts[np.searchsorted(values, of.values)] += of.counts
    return Table(values, counts)


def pack(table: Table) -> list[Any]:
    """For MessagePack: the values as raw doubles, and the counts as PackedCounts."""
    return [table.values.tobytes(), pack_counts(table.counts)]


def unpack(packed: Sequence[Any]) -> Table:
    values, counts = packed
    return Table(np.frombuffer(values, np.float64), unpack_counts(*counts))
