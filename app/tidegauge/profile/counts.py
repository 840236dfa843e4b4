"""Sparse signed histograms: the counters behind AUC, calibration and label delay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES: dict[int, Any] = {1: np.dtype("i1"), 2: np.dtype("i2"), 4: np.dtype("i4"), 8: np.dtype("i8")}
"""By the bytes a packed count may take."""


class SparseCounts:
    """Counts by small whole-number keys (below 65,536). A value: merge and retract exactly, zeros are never kept.

    ``keys`` (k, ascending) and ``counts`` (k, never 0).
    """

    __slots__ = ("counts", "keys")

    def __init__(self, keys: NDArray[np.int64] | None = None, counts: NDArray[np.int64] | None = None) -> None:
        self.keys = np.zeros(0, np.int64) if keys is None else keys
        self.counts = np.zeros(0, np.int64) if counts is None else counts

    def merge(self, other: SparseCounts) -> None:
        if len(other.keys):
            self._add([(other.keys, other.counts)])

    def merge_all(self, others: Sequence[SparseCounts]) -> None:
        found = [(of.keys, of.counts) for of in others if len(of.keys)]
        if found:
            self._add(found)

    def merge_packed(self, parts: Sequence[tuple[bytes, bytes]]) -> None:
        """Take in packed histograms."""
        found = [_unpacked(packed) for packed in parts if packed[0]]
        if found:
            self._add(found)

    def _add(self, parts: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> None:
        # Keys are small and told apart within each part: dense addition beats sorting them together.
        sums = np.zeros(1 + int(max([*(keys[-1] for keys, _ in parts), *self.keys[-1:]])), np.int64)
        sums[self.keys] = self.counts
        for keys, counts in parts:
            sums[keys] += counts
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
        if not len(self.keys):
            return b"", b""
        largest = max(int(self.counts.max()), -int(self.counts.min()))
        width = next(w for w in _TYPES if largest < 1 << (8 * w - 1))
        return self.keys.astype(np.uint16).tobytes(), self.counts.astype(_TYPES[width]).tobytes()

    @classmethod
    def unpack(cls, packed: tuple[bytes, bytes]) -> SparseCounts:
        keys, counts = _unpacked(packed)
        return cls(keys.astype(np.int64), counts.astype(np.int64))


def _unpacked(packed: tuple[bytes, bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    keys = np.frombuffer(packed[0], np.uint16)
    width = len(packed[1]) // max(len(keys), 1) or 1
    return keys, np.frombuffer(packed[1], _TYPES[width])


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
