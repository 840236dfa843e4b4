"""Categorical features: exact counts of the most common values, and the numbers of missing, mistyped and unseen values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import distinct

MAX_VALUES = 1000
MAX_NEW = 100
"""How many values that the baseline does not know are counted by name; the others are counted together."""
MAX_FURTHER = 65_536
"""How many values of a baseline beyond its MAX_VALUES counted ones are remembered, by their hashes, so that they do not count
as unseen."""
OTHER = "__other__"
NONE_FURTHER = np.zeros(0, np.uint32)
MISSING_CODE, MISMATCH_CODE = -1, -2


class KnownValues:
    """The values of a categorical feature in a baseline. ``values``: those that are counted one by one. ``further`` (k,
    ascending): the 32-bit hashes of its other values; None if there are more than MAX_FURTHER, and then no value counts as new.
    One new value in 2**32 / k is mistaken for one of them."""

    __slots__ = ("further", "values")

    def __init__(self, values: frozenset[str], further: NDArray[np.uint32] | None = NONE_FURTHER) -> None:
        self.values, self.further = values, further

    def places(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Where each name (n) belongs: COUNTED, one of ``values``; FURTHER, one of the other values of the baseline; NEW,
        neither."""
        places = np.fromiter((COUNTED if name in self.values else NEW for name in names), np.int64, len(names))
        rest = np.flatnonzero(places == NEW)
        if self.further is None:
            places[rest] = FURTHER
        elif len(rest) and len(self.further):
            places[rest[np.isin(hashes_of(names[i] for i in rest.tolist()), self.further)]] = FURTHER
        return places


COUNTED, FURTHER, NEW = 0, 1, 2


def hashes_of(names: Iterable[str]) -> NDArray[np.uint32]:
    """The 32-bit hashes (n) of names."""
    return (distinct.hash_texts(names) >> np.uint64(32)).astype(np.uint32)


class CategoryColumn:
    """One categorical feature of a chunk of rows.

    ``codes`` (n): the index of each row's value in ``values``, or MISSING_CODE or MISMATCH_CODE. ``places``: for each of
    ``values`` COUNTED, FURTHER or NEW (see ``KnownValues.places``); None if there is no baseline yet.
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
    """The counts of one categorical feature.

    ``counts``: by value, of those that the baseline knows, or of all if there is no baseline yet. ``new``: by value, of those
    that the baseline did not know when they were read. ``further``: the hashes of the values that are counted together under
    OTHER, as long as there is no baseline; None if there are more than MAX_FURTHER. ``distinct``: a sketch of the distinct
    values (``profile.distinct``).
    """

    __slots__ = ("counts", "distinct", "further", "mismatch", "missing", "new")

    def __init__(self) -> None:
        self.missing = self.mismatch = 0
        self.counts: dict[str, int] = {}
        self.new: dict[str, int] = {}
        self.further: NDArray[np.uint32] | None = NONE_FURTHER
        self.distinct: NDArray[np.uint64] = distinct.EMPTY

    @property
    def unseen(self) -> int:
        """How many values the baseline did not know."""
        return sum(self.new.values())

    @property
    def count(self) -> int:
        """How many values there are, without missing and mistyped ones."""
        return sum(self.counts.values()) + self.unseen

    def expected_unseen(self, further: int) -> float:
        """The expected share of values in another sample of the same size that do not occur in this one: by the estimate of
        Good (1953, after Turing) the share of the values that occur once in this one. ``further``: how many values are counted
        under OTHER; at least ``2 * further`` less their count of them occur once."""
        once = sum(count == 1 for value, count in self.counts.items() if value != OTHER)
        return (once + max(2 * further - self.counts.get(OTHER, 0), 0)) / self.count if self.count else 0.0

    def of(self, value: str) -> int:
        """How often one value occurred."""
        return self.counts.get(value, 0) + self.new.get(value, 0)

    def merge(self, other: CategorySummary) -> None:
        """Add the counts of ``other``."""
        self.missing += other.missing
        self.mismatch += other.mismatch
        for mine, theirs in ((self.counts, other.counts), (self.new, other.new)):
            for value, count in theirs.items():
                mine[value] = mine.get(value, 0) + count
        self.distinct = distinct.merge(self.distinct, other.distinct)
        self._note_further(other.further)
        self._bound()

    def _note_further(self, hashes: NDArray[np.uint32] | None) -> None:
        """Add the hashes of values that are counted under OTHER; None for too many."""
        if hashes is None or self.further is None:
            self.further = None
        elif len(hashes):
            both = np.union1d(self.further, hashes)
            self.further = both if len(both) <= MAX_FURTHER else None

    def _bound(self) -> None:
        """Keep the MAX_VALUES most common values (of equally common ones the first by name); count the others together as
        OTHER."""
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
    """The counts of the ``most`` most common values, with all others counted under OTHER, and the names of these others."""
    if len(counts) <= most + (OTHER in counts):
        return counts, []
    ranked = sorted(((v, n) for v, n in counts.items() if v != OTHER), key=lambda item: (-item[1], item[0]))
    rest = ranked[most:]
    return dict(ranked[:most]) | {OTHER: counts.get(OTHER, 0) + sum(n for _, n in rest)}, [value for value, _ in rest]


def merge_all(into: dict[str, CategorySummary], other: dict[str, CategorySummary], rows: int, other_rows: int) -> None:
    """Add ``other`` (of ``other_rows`` events) to ``into`` (of ``rows`` events), feature by feature. A feature that only one of
    them has counts as missing in all events of the other."""
    for name in into.keys() - other.keys():
        into[name].missing += other_rows
    for name, theirs in other.items():
        mine = into.get(name)
        if mine is None:
            mine = into[name] = CategorySummary()
            mine.missing = rows
        mine.merge(theirs)
