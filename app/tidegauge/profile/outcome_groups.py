"""Makes outcome profiles of outcomes that are columns: one for each segment and pane, or window."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import counts, range_losses, sums
from tidegauge.profile.outcome import MAX_EXAMPLES, MAX_TAKEN_BACK, OutcomeProfile
from tidegauge.profile.outcome_rows import SPACE, OutcomeColumns
from tidegauge.profile.score_counts import CALIBRATION_BINS, OTHER_READING, SCORED


class OutcomeGroups:
    """Makes profiles from OutcomeColumns. What must be computed for each row is computed once, though the rows are grouped once
    for each breakdown."""

    def __init__(self, columns: OutcomeColumns) -> None:
        terms, entries = columns.terms()
        self._row, self._key, self._weight = entries
        self._other = columns.other_entries()
        self._names, self._limbs = list(terms), sums.limbs(np.stack(list(terms.values())))
        self._tenth = columns.tenths()
        self._scores = sums.limbs(columns.sign * columns.score) if (self._tenth >= 0).any() else None
        pairs = _Pairs()
        self._pair = np.fromiter(map(pairs.__getitem__, zip(columns.predicted, columns.actual, strict=True)), np.int64)
        self._pairs, self._sign = pairs.names, columns.sign
        self._codes = columns.codes
        self._losses = None if columns.codes is None else columns.losses(columns.score)
        self._other_losses = None
        if columns.codes is not None and columns.other_score is not None:
            self._other_losses = columns.losses(columns.other_score)
        self._ids, self._wrong = columns.ids, columns.wrongness() if columns.ids else None

    def group(self, order: NDArray[np.intp], starts: NDArray[np.intp], whole: bool = False) -> list[OutcomeProfile]:
        """One profile for each run of rows (as in ``NumericColumns.group``). ``whole``: as in ``add_to``."""
        profiles = [OutcomeProfile() for _ in starts]
        self.add_to(profiles, order, starts, whole)
        return profiles

    def add_to(
        self, profiles: Sequence[OutcomeProfile], order: NDArray[np.intp], starts: NDArray[np.intp], whole: bool = False
    ) -> None:
        """Add each run of rows (as in ``NumericColumns.group``) to one of as many profiles. ``whole``: the rows are those of
        the whole model, not of a segment; only then losses are counted by ranges of features."""
        groups = len(starts)
        groups_in_order = np.repeat(np.arange(groups), np.diff(starts, append=len(order)))
        group_of_row = np.full(len(self._sign), -1)
        group_of_row[order] = groups_in_order
        parts = np.add.reduceat(self._limbs[:, :, order], starts, axis=2).transpose(1, 2, 0).tolist()
        for profile in profiles:
            profile.changed()
        for name, by_profile in zip(self._names, parts, strict=True):
            for profile, limbs in zip(profiles, by_profile, strict=True):
                if any(limbs):
                    sums.add_to(profile.sums, name, sums.of_limbs(*limbs))
        if self._scores is not None:
            self._sum_scores(self._scores, profiles, order, groups_in_order)
        for histograms, space, (row, key, weight) in (
            ([of.histograms for of in profiles], SPACE, (self._row, self._key, self._weight)),
            ([of.other for of in profiles], SCORED, self._other),
        ):
            place = group_of_row[row]
            taken = place >= 0
            if taken.any():
                counts.add_grouped(histograms, place[taken], key[taken], weight[taken], space)
        if self._wrong is not None:
            self._note_examples(self._wrong, profiles, order, groups_in_order)
        if whole:
            self._count_in_ranges(profiles, group_of_row)
        if self._pairs:
            taken = (group_of_row >= 0) & (self._pair >= 0)
            width = len(self._pairs)
            cells = np.bincount(
                group_of_row[taken] * width + self._pair[taken], weights=self._sign[taken], minlength=groups * width
            ).astype(np.int64)
            where = np.flatnonzero(cells)
            for cell, count in zip(where.tolist(), cells[where].tolist(), strict=True):
                sums.add_to(profiles[cell // width].confusion, self._pairs[cell % width], count)

    def _count_in_ranges(self, profiles: Sequence[OutcomeProfile], group_of_row: NDArray[np.int64]) -> None:
        codes, losses, others = self._codes, self._losses, self._other_losses
        if codes is None or losses is None:
            return
        tables = {codes.ranges: range_losses.grouped(codes, losses, self._sign, group_of_row, len(profiles))}
        if others is not None:
            again = range_losses.regrouped(codes, losses, others, self._sign, group_of_row, len(profiles))
            tables[OTHER_READING + codes.ranges] = again
        for name, found in tables.items():
            for profile, table in zip(profiles, found, strict=True):
                profile.add_ranges({name: table})

    def _sum_scores(
        self, scores: NDArray[np.int64], profiles: Sequence[OutcomeProfile], order: NDArray[np.intp], group: NDArray[np.int64]
    ) -> None:
        """The sum of the scores in each calibration bin, as ``score_<bin>``. ``group``: of each row in ``order``."""
        width = CALIBRATION_BINS + 1
        joint = group * width + self._tenth[order] + 1
        sort = np.argsort(joint.astype(np.int16) if len(profiles) * width < 2**15 else joint, kind="stable")
        joint = joint[sort]
        starts = np.flatnonzero(np.append(True, np.diff(joint) != 0))
        parts = np.add.reduceat(scores[:, order[sort]], starts, axis=1).T.tolist()
        for cell, limbs in zip(joint[starts].tolist(), parts, strict=True):
            if cell % width and any(limbs):
                sums.add_to(profiles[cell // width].sums, f"score_{cell % width - 1}", sums.of_limbs(*limbs))

    def _note_examples(
        self,
        wrongness: NDArray[np.float64],
        profiles: Sequence[OutcomeProfile],
        order: NDArray[np.intp],
        group: NDArray[np.int64],
    ) -> None:
        """Let the most wrong rows of each profile become examples, and take back those that are taken back. ``group``: of each
        row in ``order``."""
        found: defaultdict[int, dict[str, float]] = defaultdict(dict)
        back = self._sign[order] < 0
        if back.any():
            for of, row in zip(group[back].tolist(), order[back].tolist(), strict=True):
                if len(found[of]) < MAX_TAKEN_BACK and self._ids[row]:
                    found[of][self._ids[row].decode()] = 0.0
        wrong = np.flatnonzero(~back & (wrongness[order] > 0))
        if len(wrong):
            rows, groups = order[wrong], group[wrong]
            sort = np.lexsort((-wrongness[rows], groups))
            rows, groups = rows[sort], groups[sort]
            most = np.arange(len(rows)) - np.searchsorted(groups, groups) < MAX_EXAMPLES
            chosen = rows[most]
            for of, row, how in zip(groups[most].tolist(), chosen.tolist(), wrongness[chosen].tolist(), strict=True):
                if self._ids[row]:
                    found[of][self._ids[row].decode()] = how
        for of, examples in found.items():
            profiles[of].add_examples(examples)


class _Pairs(dict[tuple[str | None, str | None], int]):
    """Numbers pairs of predicted and actual class in the order of their first look-up; -1 if either is None. ``names``: by this
    number, the key in ``OutcomeProfile.confusion``."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, pair: tuple[str | None, str | None]) -> int:
        code = -1
        if None not in pair:
            code = len(self.names)
            self.names.append(f"{pair[0]}\x1f{pair[1]}")
        self[pair] = code
        return code
