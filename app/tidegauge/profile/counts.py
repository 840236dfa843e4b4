"""Sparse signed histograms: the counters behind AUC, calibration and label delay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WIDTHS = (1, 2, 4, 8)
"""Bytes a packed count may take."""


class SparseCounts:
    """Counts by small whole-number keys (below 65,536). A value: merge and retract exactly, zeros are never kept.

    ``keys`` (k, ascending) and ``counts`` (k, never 0).
    """

    __slots__ = ("counts", "keys")

    def __init__(self, keys: NDArray[np.int64] | None = None, counts: NDArray[np.int64] | None = None) -> None:
        self.keys = np.zeros(0, np.int64) if keys is None else keys
        self.counts = np.zeros(0, np.int64) if counts is None else counts

    def merge(self, other: SparseCounts) -> None:
        if not len(other.keys):
            return
        # Keys are small and told apart within each side: dense addition beats sorting them together.
        sums = np.zeros(1 + max(int(other.keys[-1]), int(self.keys[-1]) if len(self.keys) else 0), np.int64)
        sums[self.keys] = self.counts
        sums[other.keys] += other.counts
        self.keys = np.flatnonzero(sums)
        self.counts = sums[self.keys]

    def dense(self, start: int, length: int) -> NDArray[np.int64]:
        """The counts of keys ``start`` to ``start + length - 1`` as an array of that length."""
        out = np.zeros(length, np.int64)
        low, high = np.searchsorted(self.keys, (start, start + length))
        out[self.keys[low:high] - start] = self.counts[low:high]
        return out

    def pack(self) -> tuple[bytes, bytes]:
        """Keys in two bytes each, counts in as many as the largest of them needs."""
        largest = int(np.abs(self.counts).max(initial=0))
        width = next(w for w in _WIDTHS if largest <= np.iinfo(f"i{w}").max)
        return self.keys.astype(np.uint16).tobytes(), self.counts.astype(f"i{width}").tobytes()

    @classmethod
    def unpack(cls, packed: tuple[bytes, bytes]) -> SparseCounts:
        keys = np.frombuffer(packed[0], np.uint16).astype(np.int64)
        width = len(packed[1]) // max(len(keys), 1) or 1
        return cls(keys, np.frombuffer(packed[1], f"i{width}").astype(np.int64))


def grouped(
    group: NDArray[np.intp], keys: NDArray[np.int64], weights: NDArray[np.int64], groups: int, space: int
) -> list[SparseCounts]:
    """One SparseCounts a group. ``group``, ``keys`` (below ``space``) and ``weights`` are (n), row by row."""
    joint = group.astype(np.int64) * space + keys
    if groups * space <= max(1 << 16, 4 * len(joint)):
        sums = np.bincount(joint, weights=weights, minlength=groups * space).astype(np.int64)
        where = np.flatnonzero(sums)
        counts = sums[where]
    else:
        where, inverse = np.unique(joint, return_inverse=True)
        sums = np.bincount(inverse, weights=weights, minlength=len(where)).astype(np.int64)
        live = sums != 0
        where, counts = where[live], sums[live]
    bounds = np.searchsorted(where, np.arange(groups + 1, dtype=np.int64) * space)
    return [
        SparseCounts(where[a:b] - g * space, counts[a:b])
        for g, (a, b) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    ]
