"""Finds what carries a drop of performance: the segments, and the ranges of features, in which the loss rose significantly more
than elsewhere.

All segments of a window and all features of its baseline are tested, and the expected share of false ones among what is
reported is bounded (false discovery rate: Benjamini and Hochberg 1995; valid under the positive dependence of overlapping
segments: Benjamini and Yekutieli 2001).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_ndtr

from tidegauge.engine.delta import Segment
from tidegauge.metrics.range_search import RangeLosses, found_ranges, variance_of_mean
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import Task

LEVEL = 0.05
"""The expected share of false ones among the reported segments."""
MIN_LABELS = 30
"""A segment is tested only if it and the rest of the window have at least this many labels, so that the normal approximation
holds."""
MAX_NAMED = 5


class Carrier(NamedTuple):
    """A segment whose mean loss rose by ``excess`` relative to its own baseline, and by ``elsewhere`` in the rest of the
    window. ``share``: the share of the whole model's rise that is due to the difference; ``labels``: how many that rests on;
    ``p_value``: of the difference, one-sided. ``feature``: if the segment is not declared in the spec but a range of this
    feature, with its ends ``low`` and ``high`` if it has these."""

    segment: dict[str, str]
    excess: float
    elsewhere: float
    share: float
    labels: int
    p_value: float
    feature: str = ""
    low: float | None = None
    high: float | None = None

    def as_evidence(self) -> dict[str, Any]:
        """As a member of an alert's evidence."""
        return {name: of for name, of in self._asdict().items() if of not in ("", None)}


class Loss(NamedTuple):
    """Sums over labelled predictions of a loss, and of its square."""

    labels: float
    total: float
    squares: float

    def without(self, part: Loss) -> Loss:
        """The predictions that are not in the part."""
        return Loss(self.labels - part.labels, self.total - part.total, self.squares - part.squares)

    @property
    def mean(self) -> float:
        return self.total / self.labels

    def variance_of_mean(self, largest: float) -> float:
        """As ``range_search.variance_of_mean``."""
        return float(variance_of_mean(np.asarray(self.labels), np.asarray(self.total), np.asarray(self.squares), largest))


def squared_error(outcome: OutcomeProfile) -> Loss:
    """The squared error of scores, as in the Brier score.

    >>> squared_error(OutcomeProfile())
    Loss(labels=0.0, total=0.0, squares=0.0)
    """
    scores, positives, negatives = outcome.scored()
    missed, wrong = (1.0 - scores) ** 2, scores**2
    return Loss(
        float(positives.sum() + negatives.sum()), float(positives @ missed + negatives @ wrong),
        float(positives @ missed**2 + negatives @ wrong**2),
    )  # fmt: skip


def error(outcome: OutcomeProfile) -> Loss:
    """The loss that is 1 for a wrong class and 0 for the right one."""
    right = wrong = 0
    for predicted, actual, count in outcome.cells():
        right, wrong = right + count * (predicted == actual), wrong + count * (predicted != actual)
    return Loss(float(right + wrong), float(wrong), float(wrong))


def absolute_error(outcome: OutcomeProfile) -> Loss:
    """The absolute error of a regression."""
    return Loss(outcome.sum("errors"), outcome.sum("absolute"), outcome.scaled_sum("squares"))


def loss_of(task: Task | None) -> Callable[[OutcomeProfile], Loss]:
    """The loss of a task; for a binary one that of its scores, or of its classes if there are no scores."""
    if task == "regression":
        return absolute_error
    return _binary_loss if task == "binary" else error


def _binary_loss(outcome: OutcomeProfile) -> Loss:
    return squared_error(outcome) if outcome.scored_classes().outcomes else error(outcome)


def carriers(
    segments: Mapping[Segment, OutcomeProfile], baseline: Callable[[Segment], OutcomeProfile | None],
    loss: Callable[[OutcomeProfile], Loss], ranges: RangeLosses | None = None,
) -> list[Carrier]:  # fmt: skip
    """The segments and ranges that carry a rise of the ``loss``, the most significant one first. ``segments``: outcomes by
    segment, with the whole model under (); ``ranges``: the losses of the whole model by ranges of features.

    ``baseline``: returns the outcomes of a segment, or of (), in the baseline. Segments that the baseline does not know are not
    tested; if the loss of the whole model did not rise, nothing is. Features by which the segments are made are tested as these
    only.
    """
    before = baseline(())
    whole_now, whole_before = loss(segments[()]), None if before is None else loss(before)
    if whole_before is None or not whole_now.labels or not whole_before.labels or whole_now.mean <= whole_before.mean:
        return []
    rise = whole_now.total - whole_now.labels * whole_before.mean
    largest = 2.0 * whole_before.mean if loss is absolute_error else 1.0
    tested: list[tuple[float, Carrier]] = []
    for segment, outcome in segments.items():
        known = baseline(segment) if segment else None
        if known is None:
            continue
        now, then = loss(outcome), loss(known)
        rest_now, rest_then = whole_now.without(now), whole_before.without(then)
        sides = (now, then, rest_now, rest_then)
        if min(side.labels for side in sides) < MIN_LABELS:
            continue
        excess, elsewhere = now.mean - then.mean, rest_now.mean - rest_then.mean
        deviation = math.sqrt(sum(side.variance_of_mean(largest) for side in sides))
        log_p = float(log_ndtr(-(excess - elsewhere) / deviation))
        share = min(max(now.labels * (excess - elsewhere) / rise, 0.0), 1.0)
        tested.append((log_p, Carrier(dict(segment), excess, elsewhere, share, round(now.labels), math.exp(log_p))))
    if ranges is not None:
        tested += _of_ranges(ranges, {segment[0][0] for segment in segments if len(segment) == 1}, largest, loss)
    named = benjamini_hochberg([of.p_value for _, of in tested], LEVEL)
    found = [of for of, significant in zip(tested, named, strict=True) if significant]
    found.sort(key=lambda of: (of[0], -of[1].share, sorted(of[1].segment.items())))
    return [carrier for _, carrier in found[:MAX_NAMED]]


def _of_ranges(
    losses: RangeLosses, declared: set[str], largest: float, loss: Callable[[OutcomeProfile], Loss]
) -> Iterator[tuple[float, Carrier]]:
    """The best range of each feature, with the logarithm of its p-value."""
    unit = losses.ranges.unit if loss is absolute_error else 1.0
    for of in found_ranges(losses, declared, min(largest / unit, 1.0), MIN_LABELS):
        rose = (unit * of.excess, unit * of.elsewhere)
        yield of.log_p, Carrier(
            {of.feature: of.name}, *rose, of.share, of.labels, math.exp(of.log_p), of.feature, of.low, of.high
        )  # fmt: skip


def benjamini_hochberg(p_values: Sequence[float], level: float) -> list[bool]:
    """Which of the hypotheses are rejected so that at most ``level`` of the rejections are false, on average.

    >>> benjamini_hochberg([0.01, 0.04, 0.9, 0.02], 0.05)
    [True, False, False, True]
    """
    ordered = sorted(p_values)
    most = max((p for rank, p in enumerate(ordered, 1) if p <= level * rank / len(ordered)), default=-1.0)
    return [p <= most for p in p_values]
