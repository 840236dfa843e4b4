"""Categorical features: exact counts of values, up to a bound, and counts of missing, mistyped and unseen ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import distinct

MAX_VALUES = 1000
MAX_NEW = 100
"""The most names of values unknown to the baseline that are kept; further ones are only counted."""
MAX_FURTHER = 65_536
"""The most values beyond MAX_VALUES that are distinguished from unseen ones."""
OTHER = "__other__"
NONE_FURTHER = np.zeros(0, np.uint32)
MISSING_CODE, MISMATCH_CODE = -1, -2


class KnownValues:
    """The values of a categorical feature in a baseline. ``values``: those counted one by one. ``further`` (k, ascending):
    32-bit hashes of the other values, so that one in 2**32 / k new values is mistaken for one of them; None if they are too
    many, in which case no value counts as new."""

    __slots__ = ("further", "values")

    def __init__(self, values: frozenset[str], further: NDArray[np.uint32] | None = NONE_FURTHER) -> None:
        self.values, self.further = values, further

    def places(self, names: Sequence[str]) -> NDArray[np.int64]:
        """COUNTED, FURTHER or NEW for each name (n)."""
        places = np.fromiter((COUNTED if name in self.values else NEW for name in names), np.int64, len(names))
        rest = np.flatnonzero(places == NEW)
        if self.further is None:
            places[rest] = FURTHER
        elif len(rest) and len(self.further):
            places[rest[np.isin(hashes_of(names[i] for i in rest.tolist()), self.further)]] = FURTHER
        return places


COUNTED, FURTHER, NEW = 0, 1, 2


def hashes_of(names: Iterable[str]) -> NDArray[np.uint32]:
    return (distinct.hash_texts(names) >> np.uint64(32)).astype(np.uint32)


class CategoryColumn:
    """One category of a chunk of rows: ``codes`` (n) into ``values``, or MISSING_CODE, MISMATCH_CODE.

    ``places``: COUNTED, FURTHER or NEW of each value, as the baseline knows it; None where there is no baseline yet.
    """

    __slots__ = ("codes", "name", "places", "values")

    def __init__(
        self, name: str, codes: NDArray[np.int64], values: Sequence[str], *, places: NDArray[np.int64] | None = None
    ) -> None:
        self.name, self.codes, self.values, self.places = name, codes, values, places

    def unseen_codes(self) -> list[int]:
        """Codes of the values that the baseline does not know."""
        return [] if self.places is None else np.flatnonzero(self.places == NEW).tolist()

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp]) -> list[CategorySummary]:
        """One summary for each run of rows (as in ``NumericColumns.group``)."""
        codes = self.codes[order].astype(np.int64) + 2
        width = len(self.values) + 2
        groups = len(starts)
        row_group = np.repeat(np.arange(groups), np.diff(np.append(starts, len(order))))
        joint = row_group * width + codes
        if groups * width <= 4 * len(order) + 1024:
            dense = np.bincount(joint, minlength=groups * width)
            where = np.flatnonzero(dense)
            counts = dense[where]
        else:
            where, counts = np.unique(joint, return_counts=True)
        out = [CategorySummary() for _ in range(groups)]
        places = [COUNTED] * len(self.values) if self.places is None else self.places.tolist()
        group_of, code_of = np.divmod(where, width)
        for g, code, count in zip(group_of.tolist(), code_of.tolist(), counts.tolist(), strict=True):
            summary = out[g]
            if code >= 2:
                place = places[code - 2]
                into = summary.new if place == NEW else summary.counts
                name = OTHER if place == FURTHER else self.values[code - 2]
                into[name] = into.get(name, 0) + count
            elif code == 1:
                summary.missing = count
            else:
                summary.mismatch = count
        for summary in out:
            if OTHER not in summary.counts:
                summary.distinct = distinct.smallest(distinct.hash_texts((*summary.counts, *summary.new)))
            summary._bound()
        if FURTHER in places:
            hashes = distinct.hash_texts(self.values)
            for g, summary in enumerate(out):
                summary.distinct = distinct.smallest(hashes[code_of[(group_of == g) & (code_of >= 2)] - 2])
        return out


class CategorySummary:
    """Counts of one category: ``counts`` of the values the baseline knows, or of all while there is none; ``new`` of those that
    were not in it at the time they were read. ``further``: hashes of the values that are counted under OTHER while there is
    no baseline; None where they are too many."""

    __slots__ = ("counts", "distinct", "further", "mismatch", "missing", "new")

    def __init__(self) -> None:
        self.missing = self.mismatch = 0
        self.counts: dict[str, int] = {}
        self.new: dict[str, int] = {}
        self.further: NDArray[np.uint32] | None = NONE_FURTHER
        self.distinct: NDArray[np.uint64] = distinct.EMPTY

    @property
    def unseen(self) -> int:
        return sum(self.new.values())

    @property
    def count(self) -> int:
        return sum(self.counts.values()) + self.unseen

    def expected_unseen(self, further: int) -> float:
        """The share of values in a sample like this one that this one does not hold, by the share of those it holds once (Good
        1953, after Turing); of the ``further`` ones, whose names are not kept, by how many there must be at least."""
        once = sum(count == 1 for value, count in self.counts.items() if value != OTHER)
        return (once + max(2 * further - self.counts.get(OTHER, 0), 0)) / self.count if self.count else 0.0

    def of(self, value: str) -> int:
        """How often one value occurred."""
        return self.counts.get(value, 0) + self.new.get(value, 0)

    def merge(self, other: CategorySummary) -> None:
        self.missing += other.missing
        self.mismatch += other.mismatch
        for mine, theirs in ((self.counts, other.counts), (self.new, other.new)):
            for value, count in theirs.items():
                mine[value] = mine.get(value, 0) + count
        self.distinct = distinct.merge(self.distinct, other.distinct)
        self._note_further(other.further)
        self._bound()

    def _note_further(self, hashes: NDArray[np.uint32] | None) -> None:
        if hashes is None or self.further is None:
            self.further = None
        elif len(hashes):
            both = np.union1d(self.further, hashes)
            self.further = both if len(both) <= MAX_FURTHER else None

    def _bound(self) -> None:
        """Keep the MAX_VALUES most common values (ties by name), and count the others together as OTHER."""
        self.counts, dropped = _commonest(self.counts, MAX_VALUES)
        if dropped:
            self._note_further(hashes_of(dropped))
        self.new, _ = _commonest(self.new, MAX_NEW)

    def pack(self) -> list[Any]:
        further = None if self.further is None else self.further.tobytes()
        return [self.missing, self.mismatch, self.counts, self.new, self.distinct.tobytes(), further]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> CategorySummary:
        summary = cls()
        summary.missing, summary.mismatch, summary.counts, summary.new, raw, further = packed
        summary.distinct = np.frombuffer(raw, np.uint64)
        summary.further = None if further is None else np.frombuffer(further, np.uint32)
        return summary


def _commonest(counts: dict[str, int], most: int) -> tuple[dict[str, int], list[str]]:
    """The counts of the most common values, with all others under OTHER, and the names of those others."""
    if len(counts) <= most + (OTHER in counts):
        return counts, []
    ranked = sorted(((v, n) for v, n in counts.items() if v != OTHER), key=lambda item: (-item[1], item[0]))
    rest = ranked[most:]
    return dict(ranked[:most]) | {OTHER: counts.get(OTHER, 0) + sum(n for _, n in rest)}, [value for value, _ in rest]


def merge_all(into: dict[str, CategorySummary], other: dict[str, CategorySummary], rows: int, other_rows: int) -> None:
    """Merge category by category; one that only one side knows was missing in the other's events."""
    for name in into.keys() - other.keys():
        into[name].missing += other_rows
    for name, theirs in other.items():
        mine = into.get(name)
        if mine is None:
            mine = into[name] = CategorySummary()
            mine.missing = rows
        mine.merge(theirs)
