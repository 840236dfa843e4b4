"""Sparse signed histograms: the counters behind AUC, calibration and label delay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

COUNT_TYPES: dict[int, Any] = {1: np.dtype("i1"), 2: np.dtype("i2"), 4: np.dtype("i4"), 8: np.dtype("i8")}
"""By the bytes a packed count may take."""
_SPARSE = 8
"""Of a space so many times as large as what lies in it, most is empty: sorting is cheaper then."""


def pack_counts(counts: NDArray[np.int64]) -> tuple[int, bytes]:
    """Counts in as few bytes each as the largest needs, and how many those are."""
    largest = max(int(counts.max()), -int(counts.min())) if counts.size else 0
    width = next(w for w in COUNT_TYPES if largest < 1 << (8 * w - 1))
    return width, counts.astype(COUNT_TYPES[width]).tobytes()


def unpack_counts(width: int, raw: bytes) -> NDArray[np.int64]:
    return np.frombuffer(raw, COUNT_TYPES[width]).astype(np.int64)


def _summed(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys (n, at least one), ascending and each once, and the sums of their counts (n), without those that are 0."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sums = np.add.reduceat(counts[order], starts)
    live = sums != 0
    return keys[starts][live], sums[live]


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
        if not len(self.keys) and len(parts) == 1:
            self.keys, self.counts = (of.astype(np.int64) for of in parts[0])
            return
        space = 1 + int(max([*(keys[-1] for keys, _ in parts), *self.keys[-1:]]))
        if _SPARSE * (len(self.keys) + sum(len(keys) for keys, _ in parts)) < space:
            keys, counts = (np.concatenate([of.astype(np.int64) for of in column]) for column in zip(*parts, strict=True))
            self.keys, self.counts = _summed(np.append(self.keys, keys), np.append(self.counts, counts))
            return
        # Keys are small and told apart within each part: dense addition beats sorting them together.
        sums = np.zeros(space, np.int64)
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

    def side_by_side(self, starts: Sequence[int], length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Histograms of the same ``length`` that begin at ``starts`` (S), where any of them has counts: their keys (k,
        ascending) without the start, and the counts (S, k)."""
        edges = np.searchsorted(self.keys, [edge for start in starts for edge in (start, start + length)]).tolist()
        bounds = list(zip(edges[::2], edges[1::2], strict=True))
        parts = [self.keys[low:high] - start for (low, high), start in zip(bounds, starts, strict=True)]
        keys = np.concatenate(parts)
        keys.sort()
        first = np.ones(len(keys), bool)
        np.not_equal(keys[1:], keys[:-1], out=first[1:])
        keys = keys[first]
        counts = np.zeros((len(starts), len(keys)), np.int64)
        for row, ((low, high), part) in enumerate(zip(bounds, parts, strict=True)):
            counts[row, keys.searchsorted(part)] = self.counts[low:high]
        return keys, counts

    def pack(self) -> tuple[bytes, bytes]:
        """Keys in two bytes each, counts in as many as the largest of them needs."""
        if not len(self.keys):
            return b"", b""
        return self.keys.astype(np.uint16).tobytes(), pack_counts(self.counts)[1]

    @classmethod
    def unpack(cls, packed: tuple[bytes, bytes]) -> SparseCounts:
        keys, counts = _unpacked(packed)
        return cls(keys.astype(np.int64), counts.astype(np.int64))


def _unpacked(packed: tuple[bytes, bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    keys = np.frombuffer(packed[0], np.uint16)
    width = len(packed[1]) // max(len(keys), 1) or 1
    return keys, np.frombuffer(packed[1], COUNT_TYPES[width])


def grouped(
    group: NDArray[np.intp], keys: NDArray[np.int64], weights: NDArray[np.int64], groups: int, space: int
) -> list[SparseCounts]:
    """One SparseCounts a group. ``group``, ``keys`` (below ``space``) and ``weights`` are (n), row by row."""
    joint = group.astype(np.int64) * space + keys
    if groups * space <= _SPARSE * len(joint):
        sums = np.bincount(joint, weights=weights, minlength=groups * space).astype(np.int64)
        where = np.flatnonzero(sums)
        counts = sums[where]
    else:
        where, counts = _summed(joint, weights) if len(joint) else (joint, weights)
    bounds = np.searchsorted(where, np.arange(groups + 1, dtype=np.int64) * space)
    return [
        SparseCounts(where[a:b] - g * space, counts[a:b])
        for g, (a, b) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    ]
