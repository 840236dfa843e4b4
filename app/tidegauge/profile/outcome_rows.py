"""Outcomes, column-wise: what each row adds to the sums and histograms of an outcome profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import sums
from tidegauge.profile.delay_grid import DELAY_BINS, delay_bins
from tidegauge.profile.score_counts import SCORED, other_sums, score_keys, score_sums, tenths

DELAYS, SPACE = SCORED, SCORED + DELAY_BINS
"""Where label delays begin in the joint key space, and its end."""
EXAMPLE_FROM = 0.5
"""A classification less wrong than this (distance of score and outcome) is no example."""


class Entries(NamedTuple):
    """Entries of histograms: the row each comes from, its key, and how often it counts; all (m)."""

    row: NDArray[np.int64]
    key: NDArray[np.int64]
    weight: NDArray[np.int64]


class Terms(NamedTuple):
    """What rows add: to the exact sums, by name, a number a row (n); and to the histograms."""

    sums: dict[str, NDArray[np.float64]]
    entries: Entries


@dataclass(slots=True, eq=False)
class OutcomeColumns:
    """A chunk of one version's outcomes, column-wise (n rows), each to be added (``sign`` 1) or taken back (-1).

    ``predicted`` and ``actual`` are class names or None, ``numbers`` predicted and actual as numbers (2, n) or NaN,
    ``score`` and ``positive`` the probability of the positive class and whether it came true (-1 where unknown), ``hit``
    (n) the same of the class a multiclass model predicted, whose probability its score is, else None; ``other_score`` (n) the
    score read the other way, None where that is the same; ``log_loss`` the
    multiclass loss (n) or NaN; ``business`` KPI → values (n) or NaN; ``delay`` seconds, NaN where no label was sent; ``ids``
    request ids (n), () where no examples are wanted; ``implied`` (n) whether no label says so but that none has come, or None;
    ``unreadable`` (n) whether the label is no number though the task asks for one, or None.
    """

    sign: NDArray[np.int64]
    labelled: NDArray[np.bool_]
    predicted: Sequence[str | None]
    actual: Sequence[str | None]
    numbers: NDArray[np.float64] | None
    score: NDArray[np.float64]
    positive: NDArray[np.int64]
    log_loss: NDArray[np.float64] | None
    business: dict[str, NDArray[np.float64]]
    delay: NDArray[np.float64]
    ids: Sequence[bytes] = ()
    hit: NDArray[np.int64] | None = None
    implied: NDArray[np.bool_] | None = None
    other_score: NDArray[np.float64] | None = None
    unreadable: NDArray[np.bool_] | None = None

    def terms(self) -> Terms:
        """What the rows add to the exact sums and to the histograms."""
        n = len(self.sign)
        sign = self.sign.astype(np.float64)
        terms: dict[str, NDArray[np.float64]] = {"labels": sign * self.labelled}
        if self.implied is not None and self.implied.any():
            terms["implied"] = sign * self.implied
        if self.unreadable is not None and self.unreadable.any():
            terms["unreadable"] = sign * self.unreadable
        rows = np.flatnonzero(~np.isnan(self.delay))
        entry_rows, entry_keys = [rows], [DELAYS + delay_bins(self.delay[rows])]
        truth = self.positive if self.hit is None else self.hit
        scored = np.flatnonzero((truth >= 0) & (self.score >= 0.0) & (self.score <= 1.0))
        outside = (truth >= 0) & ((self.score < 0.0) | (self.score > 1.0))
        if outside.any():
            terms["no_probability"] = sign * outside
        if len(scored):
            p, y, s = self.score[scored], truth[scored], sign[scored]
            entry_rows += [scored, scored]
            entry_keys += score_keys(p, y)
            for name, values in score_sums(p, y).items():
                terms[name] = np.zeros(n)
                terms[name][scored] = s * values
            for name, values in self._other_sums().items():
                terms[name] = sign * values
        if self.log_loss is not None:
            terms["class_log_loss"] = sign * self.log_loss
            terms["class_log_loss_squares"] = sign * self.log_loss * self.log_loss
            terms["class_log_loss_count"] = sign * ~np.isnan(self.log_loss)
        if self.numbers is not None:
            self._regression(terms, sign)
        for kpi, values in self.business.items():
            terms[f"kpi_count:{kpi}"] = sign * ~np.isnan(values)
            terms[f"kpi_sum:{kpi}"] = sign * values
            with np.errstate(over="ignore"):
                terms |= sums.scaled(f"kpi_squares:{kpi}", sign * values * values)
        row = np.concatenate(entry_rows)
        return Terms(terms, Entries(row, np.concatenate(entry_keys), self.sign[row]))

    def _reread(self) -> NDArray[np.intp]:
        """The rows whose outcome is known and whose score would be another, read the other way."""
        if self.other_score is None:
            return np.zeros(0, np.intp)
        return np.flatnonzero(
            (self.positive >= 0) & (self.score >= 0.0) & (self.score <= 1.0) & (self.other_score != self.score)
        )

    def _other_sums(self) -> dict[str, NDArray[np.float64]]:
        rows = self._reread()
        if not len(rows):
            return {}
        assert self.other_score is not None
        found = {}
        for name, values in other_sums(self.score[rows], self.other_score[rows], self.positive[rows]).items():
            found[name] = np.zeros(len(self.sign))
            found[name][rows] = values
        return found

    def other_entries(self) -> Entries:
        """What the score histograms gain and lose where scores are read the other way."""
        rows = self._reread()
        if not len(rows):
            return Entries(rows, rows, rows)
        assert self.other_score is not None
        p, other, y, sign = self.score[rows], self.other_score[rows], self.positive[rows], self.sign[rows]
        keys = np.concatenate((*score_keys(p, y), *score_keys(other, y)))
        return Entries(np.tile(rows, 4), keys, np.concatenate((-sign, -sign, sign, sign)))

    def tenths(self) -> NDArray[np.int64]:
        """The calibration bin (n) of each score whose outcome is known, else -1."""
        known = (self.positive >= 0) & (self.score >= 0.0) & (self.score <= 1.0)
        return np.where(known, tenths(np.where(known, self.score, 0.0)), -1)

    def wrongness(self) -> NDArray[np.float64]:
        """How wrong each prediction (n) was: the distance of score and outcome, else 1 for a wrong class, else the absolute
        error; 0 where that is unknown or small."""
        if self.numbers is not None and not np.isnan(self.numbers).all():
            return np.asarray(np.nan_to_num(np.abs(self.numbers[0] - self.numbers[1])))
        known = (self.positive >= 0) & ~np.isnan(self.score)
        wrong = np.abs(self.score - self.positive)
        if not known.all():
            pairs = zip(self.predicted, self.actual, strict=True)
            classes = np.fromiter((p is not None and a is not None and p != a for p, a in pairs), float)
            wrong = np.where(known, wrong, classes)
        return np.asarray(np.where(wrong > EXAMPLE_FROM, wrong, 0.0))

    def examples(self) -> list[str]:
        """Requests that may become examples."""
        return [self.ids[row].decode() for row in np.flatnonzero(self.wrongness()).tolist()] if self.ids else []

    def _regression(self, terms: dict[str, NDArray[np.float64]], sign: NDArray[np.float64]) -> None:
        assert self.numbers is not None
        predicted, actual = self.numbers
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            error = predicted - actual
            truth = np.where(np.isnan(error), np.nan, actual)
            relative = np.where(actual != 0, np.abs(error / actual), np.nan)
            squared, actual_squared = error * error, truth * truth
            terms["errors"] = sign * ~np.isnan(error)
            terms["error_sum"], terms["absolute"] = sign * error, sign * np.abs(error)
            terms["relative"], terms["relative_count"] = sign * relative, sign * ~np.isnan(relative)
            terms["actual_sum"] = sign * truth
            for name, values in (
                ("squares", squared),
                ("actual_squares", actual_squared),
                # What the intervals of RMSE, MAPE and R² rest on.
                ("fourths", squared * squared),
                ("squares_actual", squared * truth),
                ("squares_actual_squares", squared * actual_squared),
                ("actual_cubes", actual_squared * truth),
                ("actual_fourths", actual_squared * actual_squared),
                ("relative_squares", relative * relative),
            ):
                terms |= sums.scaled(name, sign * values)
