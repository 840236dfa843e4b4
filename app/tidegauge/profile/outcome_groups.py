"""Makes outcome profiles of outcomes that are columns: one for each segment and pane, or window."""

from __future__ import annotations

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
        """One profile for each run of rows (as in ``NumericColumns.group``). ``whole``: the rows are those of the whole model,
        not of a segment; only then losses are counted by ranges of features."""
        groups = len(starts)
        group_of_row = np.full(len(self._sign), -1)
        group_of_row[order] = np.repeat(np.arange(groups), np.diff(np.append(starts, len(order))))
        profiles = [OutcomeProfile() for _ in range(groups)]
        parts = np.add.reduceat(self._limbs[:, :, order], starts, axis=2).transpose(1, 2, 0).tolist()
        for name, by_profile in zip(self._names, parts, strict=True):
            for profile, limbs in zip(profiles, by_profile, strict=True):
                units = sums.of_limbs(*limbs)
                if units:
                    profile.sums[name] = units
        if self._scores is not None:
            self._sum_scores(self._scores, profiles, order, group_of_row[order])
        for member, space, (row, key, weight) in (
            ("histograms", SPACE, (self._row, self._key, self._weight)),
            ("other", SCORED, self._other),
        ):
            place = group_of_row[row]
            taken = place >= 0
            if taken.any():
                histograms = counts.grouped(place[taken], key[taken], weight[taken], groups, space)
                for profile, histogram in zip(profiles, histograms, strict=True):
                    setattr(profile, member, histogram)
        if self._wrong is not None:
            self._note_examples(profiles, order, starts)
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
                profiles[cell // width].confusion[self._pairs[cell % width]] = count
        return profiles

    def _count_in_ranges(self, profiles: list[OutcomeProfile], group_of_row: NDArray[np.int64]) -> None:
        codes, losses, others = self._codes, self._losses, self._other_losses
        if codes is None or losses is None:
            return
        tables = {codes.ranges: range_losses.grouped(codes, losses, self._sign, group_of_row, len(profiles))}
        if others is not None:
            again = range_losses.regrouped(codes, losses, others, self._sign, group_of_row, len(profiles))
            tables[OTHER_READING + codes.ranges] = again
        for name, found in tables.items():
            for profile, table in zip(profiles, found, strict=True):
                if len(table.keys):
                    profile.ranges[name] = table

    def _sum_scores(
        self, scores: NDArray[np.int64], profiles: list[OutcomeProfile], order: NDArray[np.intp], group: NDArray[np.int64]
    ) -> None:
        """The sum of the scores in each calibration bin, as ``score_<bin>``."""
        width = CALIBRATION_BINS + 1
        joint = group * width + self._tenth[order] + 1
        sort = np.argsort(joint.astype(np.int16) if len(profiles) * width < 2**15 else joint, kind="stable")
        joint = joint[sort]
        starts = np.flatnonzero(np.append(True, np.diff(joint) != 0))
        parts = np.add.reduceat(scores[:, order[sort]], starts, axis=1).T.tolist()
        for cell, limbs in zip(joint[starts].tolist(), parts, strict=True):
            units = sums.of_limbs(*limbs)
            if cell % width and units:
                profiles[cell // width].sums[f"score_{cell % width - 1}"] = units

    def _note_examples(self, profiles: list[OutcomeProfile], order: NDArray[np.intp], starts: NDArray[np.intp]) -> None:
        assert self._wrong is not None
        ends = np.append(starts[1:], len(order))
        for profile, start, end in zip(profiles, starts.tolist(), ends.tolist(), strict=True):
            rows = order[start:end]
            gone = rows[self._sign[rows] < 0][:MAX_TAKEN_BACK].tolist()
            profile.examples = {self._ids[row].decode(): 0.0 for row in gone if self._ids[row]}
            wrong = self._wrong[rows] * (self._sign[rows] > 0)
            if wrong.any():
                top = rows[np.argsort(-wrong, kind="stable")[:MAX_EXAMPLES]].tolist()
                profile.examples |= {
                    self._ids[row].decode(): float(self._wrong[row]) for row in top if self._wrong[row] and self._ids[row]
                }


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
