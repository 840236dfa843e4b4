"""Sparse histograms whose counts may be negative: AUC, calibration and label delays are computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

COUNT_TYPES: dict[int, Any] = {1: np.dtype("i1"), 2: np.dtype("i2"), 4: np.dtype("i4"), 8: np.dtype("i8")}
"""The numpy type of packed counts, by the number of bytes of each."""
_SPARSE = 8
"""If there are this many times as many possible keys as entries, a dense array would be mostly empty, and sorting is
cheaper."""


class PackedCounts(NamedTuple):
    """Whole numbers (n) as little-endian bytes: ``width`` (1, 2, 4 or 8) bytes for each number."""

    width: int
    raw: bytes


class PackedHistogram(NamedTuple):
    """A packed SparseCounts: ``keys`` with two bytes each, and ``counts`` with as many bytes each as the largest of them
    needs."""

    keys: bytes
    counts: bytes


class AlignedHistograms(NamedTuple):
    """S histograms over the same ``keys`` (k, ascending), which are those that any of them has: ``counts`` (S, k)."""

    keys: NDArray[np.int64]
    counts: NDArray[np.int64]


def pack_counts(counts: NDArray[np.int64]) -> PackedCounts:
    """Pack counts of any shape and sign in as few bytes each as the largest needs."""
    largest = max(int(counts.max()), -int(counts.min())) if counts.size else 0
    width = next(w for w in COUNT_TYPES if largest < 1 << (8 * w - 1))
    return PackedCounts(width, counts.astype(COUNT_TYPES[width]).tobytes())


def unpack_counts(width: int, raw: bytes) -> NDArray[np.int64]:
    """The counts (n) of PackedCounts, without their shape."""
    return np.frombuffer(raw, COUNT_TYPES[width]).astype(np.int64)


def _summed(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct ones of the keys (n, at least one), ascending, and the sum of the counts (n) of each. Keys whose sum is 0
    are left out."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    sums = np.add.reduceat(counts[order], starts)
    live = sums != 0
    return keys[starts][live], sums[live]


class SparseCounts:
    """A histogram over small whole-number keys (below 65,536) that keeps only the counts that are not 0.

    ``keys`` (k, ascending) and ``counts`` (k). Counts may be negative, so that merging can exactly take back what was added.
    """

    __slots__ = ("counts", "keys")

    def __init__(self, keys: NDArray[np.int64] | None = None, counts: NDArray[np.int64] | None = None) -> None:
        self.keys = np.zeros(0, np.int64) if keys is None else keys
        self.counts = np.zeros(0, np.int64) if counts is None else counts

    def merge(self, other: SparseCounts) -> None:
        """Add the counts of ``other``."""
        if len(other.keys):
            self._add([(other.keys, other.counts)])

    def merge_all(self, others: Sequence[SparseCounts]) -> None:
        """Add the counts of several others, faster than one by one."""
        found = [(of.keys, of.counts) for of in others if len(of.keys)]
        if found:
            self._add(found)

    def merge_packed(self, parts: Sequence[Sequence[bytes]]) -> None:
        """Add the counts of histograms that are packed as in PackedHistogram."""
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
        # Keys are small, and within each part they are distinct: adding in a dense array is faster than sorting.
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

    def aligned(self, starts: Sequence[int], length: int) -> AlignedHistograms:
        """The histograms in the key ranges of the same ``length`` that begin at ``starts`` (S); keys are relative to the start
        of their range."""
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
        return AlignedHistograms(keys, counts)

    def pack(self) -> PackedHistogram:
        if not len(self.keys):
            return PackedHistogram(b"", b"")
        return PackedHistogram(self.keys.astype(np.uint16).tobytes(), pack_counts(self.counts).raw)

    @classmethod
    def unpack(cls, packed: Sequence[bytes]) -> SparseCounts:
        keys, counts = _unpacked(packed)
        return cls(keys.astype(np.int64), counts.astype(np.int64))


def _unpacked(packed: Sequence[bytes]) -> tuple[NDArray[Any], NDArray[Any]]:
    keys = np.frombuffer(packed[0], np.uint16)
    width = len(packed[1]) // max(len(keys), 1) or 1
    return keys, np.frombuffer(packed[1], COUNT_TYPES[width])


def grouped(
    group: NDArray[np.intp], keys: NDArray[np.int64], weights: NDArray[np.int64], groups: int, space: int
) -> list[SparseCounts]:
    """One histogram for each of ``groups`` groups, from rows (n): the number of the ``group`` that each row belongs to, its key
    (below ``space``), and how often it counts (its weight)."""
    found = [SparseCounts() for _ in range(groups)]
    add_grouped(found, group, keys, weights, space)
    return found


def add_grouped(
    into: Sequence[SparseCounts], group: NDArray[np.intp], keys: NDArray[np.int64], weights: NDArray[np.int64], space: int
) -> None:
    """Add rows (n) to histograms: to the number ``group`` of these each row, with its key (below ``space``) and its weight."""
    groups = len(into)
    joint = group.astype(np.int64) * space + keys
    sizes = [len(of.keys) for of in into]
    if any(sizes):
        held = np.concatenate([of.keys for of in into]) + np.repeat(np.arange(groups) * space, sizes)
        joint = np.concatenate((held, joint))
        weights = np.concatenate((*(of.counts for of in into), weights))
    if groups * space <= _SPARSE * len(joint):
        sums = np.bincount(joint, weights=weights, minlength=groups * space).astype(np.int64)
        where = np.flatnonzero(sums)
        counts = sums[where]
    else:
        where, counts = _summed(joint, weights) if len(joint) else (joint, weights)
    bounds = np.searchsorted(where, np.arange(groups + 1, dtype=np.int64) * space).tolist()
    for number, (of, begin, end) in enumerate(zip(into, bounds, bounds[1:], strict=False)):
        # Copies, so that no histogram holds the memory of all.
        of.keys, of.counts = where[begin:end] - number * space, counts[begin:end].copy()
