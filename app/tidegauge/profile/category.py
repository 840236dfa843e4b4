"""Categories: exact counts of the values, up to a bound, with what was missing, mistyped or never seen in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import distinct

MAX_VALUES = 1000
OTHER = "__other__"
MISSING_CODE, MISMATCH_CODE = -1, -2


class CategoryColumn:
    """One category of a chunk of rows: ``codes`` (n) into ``values``, or MISSING_CODE, MISMATCH_CODE.

    ``known``: the baseline's values, None where there is no baseline yet.
    """

    __slots__ = ("codes", "known", "name", "values")

    def __init__(self, name: str, codes: NDArray[np.int64], values: Sequence[str], known: frozenset[str] | None) -> None:
        self.name, self.codes, self.values, self.known = name, codes, values, known

    def unseen_codes(self) -> list[int]:
        """Codes of the values that the baseline does not know."""
        known = self.known
        return [] if known is None else [code for code, value in enumerate(self.values) if value not in known]

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp]) -> list[CategorySummary]:
        """One summary for each run of rows (as in ``NumericColumns.group``)."""
        codes = self.codes[order] + 2
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
        group_of, code_of = np.divmod(where, width)
        for g, code, count in zip(group_of.tolist(), code_of.tolist(), counts.tolist(), strict=True):
            summary = out[g]
            if code >= 2:
                summary.counts[self.values[code - 2]] = count
            elif code == 1:
                summary.missing = count
            else:
                summary.mismatch = count
        for summary in out:
            summary.distinct = distinct.smallest(distinct.hash_texts(summary.counts))
            if self.known is not None:
                summary.unseen = sum(c for v, c in summary.counts.items() if v not in self.known)
            summary._bound()
        return out


class CategorySummary:
    """Counts of one category. ``unseen``: how many values were not in the baseline at the time they were read."""

    __slots__ = ("counts", "distinct", "mismatch", "missing", "unseen")

    def __init__(self) -> None:
        self.missing = self.mismatch = self.unseen = 0
        self.counts: dict[str, int] = {}
        self.distinct: NDArray[np.uint64] = distinct.EMPTY

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    def merge(self, other: CategorySummary) -> None:
        self.missing += other.missing
        self.mismatch += other.mismatch
        self.unseen += other.unseen
        counts = self.counts
        for value, count in other.counts.items():
            counts[value] = counts.get(value, 0) + count
        self.distinct = distinct.merge(self.distinct, other.distinct)
        self._bound()

    def _bound(self) -> None:
        """Keep the MAX_VALUES commonest (ties by name); the rest is counted together as OTHER."""
        if len(self.counts) > MAX_VALUES + 1:
            other = self.counts.pop(OTHER, 0)
            ranked = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
            self.counts = dict(ranked[:MAX_VALUES])
            self.counts[OTHER] = other + sum(count for _, count in ranked[MAX_VALUES:])

    def pack(self) -> list[Any]:
        return [self.missing, self.mismatch, self.unseen, self.counts, self.distinct.tobytes()]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> CategorySummary:
        summary = cls()
        summary.missing, summary.mismatch, summary.unseen, summary.counts, raw = packed
        summary.distinct = np.frombuffer(raw, np.uint64)
        return summary


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
