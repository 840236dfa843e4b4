"""Outcomes, column by column: what each row adds to the sums and histograms of an outcome profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import sums
from tidegauge.profile.delay_grid import DELAY_BINS, delay_bins
from tidegauge.profile.range_losses import RangeCodes
from tidegauge.profile.score_counts import SCORED, other_sums, score_keys, score_sums, tenths

DELAYS, SPACE = SCORED, SCORED + DELAY_BINS
"""Where label delays begin in the common key space of the histograms, and where it ends."""
EXAMPLE_FROM = 0.5
"""The smallest distance between score and outcome at which a classification may become an example."""


class HistogramEntries(NamedTuple):
    """Entries of histograms (m each): the number of the row, the key, and how often it counts, negative to take back."""

    row: NDArray[np.int64]
    key: NDArray[np.int64]
    weight: NDArray[np.int64]


class Terms(NamedTuple):
    """What rows add. ``sums``: name → the term of each row (n). ``entries``: of the histograms."""

    sums: dict[str, NDArray[np.float64]]
    entries: HistogramEntries


@dataclass(slots=True, eq=False)
class OutcomeColumns:
    """A chunk of one version's outcomes, column by column (n rows).

    ``sign`` (n): 1 if the outcome is to be added, -1 if it is to be taken back.
    ``labelled`` (n): whether there is a label, and not only KPIs.
    ``predicted``, ``actual`` (n): class names or None.
    ``numbers`` (2, n): the predicted and actual numbers of a regression, or NaN; None for other tasks.
    ``score`` (n): the probability of the positive class, or for a multiclass model that of the predicted class; NaN if unknown.
    ``positive`` (n): whether the actual class is the positive one: 1, 0, or -1 if unknown.
    ``log_loss`` (n): the multiclass log loss, or NaN; None for other tasks.
    ``business``: KPI → its values (n), or NaN.
    ``delay`` (n): the label delay in seconds; NaN if no label was sent.
    ``ids`` (n): request ids in UTF-8; () if no examples are wanted.
    ``hit`` (n): whether the class predicted by a multiclass model is the actual one: 1, 0, or -1 if unknown; None for others.
    ``implied`` (n): whether the label follows from none having been sent; None if that is so of no row.
    ``other_score`` (n): the score read the other way; None if it is the same.
    ``unreadable`` (n): whether the label is not a number although the task is a regression; None if that is so of no row.
    ``codes``: in which ranges the features of sampled rows lie; None if the baseline has no ranges.
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
    codes: RangeCodes | None = None

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
        return Terms(terms, HistogramEntries(row, np.concatenate(entry_keys), self.sign[row]))

    def _reread(self) -> NDArray[np.intp]:
        """The numbers of the rows whose outcome is known and whose score is different if read the other way."""
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

    def other_entries(self) -> HistogramEntries:
        """What to add to the score histograms if scores are read the other way, and what to take back."""
        rows = self._reread()
        if not len(rows):
            return HistogramEntries(rows, rows, rows)
        assert self.other_score is not None
        p, other, y, sign = self.score[rows], self.other_score[rows], self.positive[rows], self.sign[rows]
        keys = np.concatenate((*score_keys(p, y), *score_keys(other, y)))
        return HistogramEntries(np.tile(rows, 4), keys, np.concatenate((-sign, -sign, sign, sign)))

    def tenths(self) -> NDArray[np.int64]:
        """The calibration bin of each row (n); -1 if its outcome is unknown or its score is not in [0, 1]."""
        known = (self.positive >= 0) & (self.score >= 0.0) & (self.score <= 1.0)
        return np.where(known, tenths(np.where(known, self.score, 0.0)), -1)

    def losses(self, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """The loss of each sampled prediction, from 0 to 1, given all ``score`` (n): the squared error of the probability that
        a class is the positive one; without it 1 for a wrong class; for a regression the absolute error, in units of ``codes``.
        NaN (n) if it is unknown, or not sampled."""
        losses = np.full(len(score), np.nan)
        if self.codes is None or not len(self.codes.rows):
            return losses
        rows = self.codes.rows
        pairs = [(self.predicted[row], self.actual[row]) for row in rows.tolist()]
        losses[rows] = [np.nan if p is None or a is None else p != a for p, a in pairs]
        if self.numbers is not None and np.isnan(losses[rows]).all():
            with np.errstate(over="ignore", invalid="ignore"):
                error = np.abs(self.numbers[0, rows] - self.numbers[1, rows])
                losses[rows] = np.minimum(error / self.codes.unit, 1.0)
        known = rows[(self.positive[rows] >= 0) & (score[rows] >= 0.0) & (score[rows] <= 1.0)]
        losses[known] = (score[known] - self.positive[known]) ** 2
        return losses

    def wrongness(self) -> NDArray[np.float64]:
        """How wrong each prediction (n) was: for a regression the absolute error; else the distance between score and outcome;
        without a score 1 for a wrong class. 0 if it is unknown, or for a class not above EXAMPLE_FROM."""
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
        """The request ids of the rows that may become examples."""
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
                # The intervals of RMSE, MAPE and R² need these.
                ("fourths", squared * squared),
                ("squares_actual", squared * truth),
                ("squares_actual_squares", squared * actual_squared),
                ("actual_cubes", actual_squared * truth),
                ("actual_fourths", actual_squared * actual_squared),
                ("relative_squares", relative * relative),
            ):
                terms |= sums.scaled(name, sign * values)
