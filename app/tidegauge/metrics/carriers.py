"""Finds the segments that carry a drop of performance: those in which the loss rose significantly more than elsewhere.

All segments of a window are tested, and the expected share of false ones among the reported segments is bounded (false
discovery rate: Benjamini and Hochberg 1995; valid under the positive dependence of overlapping segments: Benjamini and
Yekutieli 2001).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scipy.special import ndtr

from tidegauge.engine.delta import Segment
from tidegauge.profile.outcome import OutcomeProfile

LEVEL = 0.05
"""The expected share of false ones among the reported segments."""
MIN_LABELS = 30
"""A segment is tested only if it and the rest of the window have at least this many labels, so that the normal approximation
holds."""
MAX_NAMED = 5


class Carrier(NamedTuple):
    """A segment whose mean loss rose by ``excess`` relative to its own baseline, and by ``elsewhere`` in the rest of the
    window. ``share``: the share of the whole model's rise that is due to the difference; ``p_value``: of the difference,
    one-sided."""

    segment: dict[str, str]
    excess: float
    elsewhere: float
    share: float
    labels: int
    p_value: float


class Loss(NamedTuple):
    """Sums over labelled predictions of a loss between 0 and 1, and of its square."""

    labels: float
    total: float
    squares: float

    def without(self, part: Loss) -> Loss:
        """The predictions that are not in the part."""
        return Loss(self.labels - part.labels, self.total - part.total, self.squares - part.squares)

    @property
    def mean(self) -> float:
        return self.total / self.labels

    @property
    def variance_of_mean(self) -> float:
        """The variance of the mean, with one pseudo-observation of 0 and one of 1, so that it is never 0."""
        mean = (self.total + 1.0) / (self.labels + 2.0)
        return max((self.squares + 1.0) / (self.labels + 2.0) - mean * mean, 0.0) / self.labels


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


def carriers(
    segments: Mapping[Segment, OutcomeProfile], baseline: Callable[[Segment], OutcomeProfile | None],
    loss: Callable[[OutcomeProfile], Loss],
) -> list[Carrier]:  # fmt: skip
    """The segments that carry a rise of the ``loss``, the largest share first. ``segments``: outcomes by segment, with the
    whole model under ().

    ``baseline``: returns the outcomes of a segment, or of (), in the baseline. Segments that the baseline does not know are not
    tested; if the loss of the whole model did not rise, none is.
    """
    before = baseline(())
    whole_now, whole_before = loss(segments[()]), None if before is None else loss(before)
    if whole_before is None or not whole_now.labels or not whole_before.labels or whole_now.mean <= whole_before.mean:
        return []
    rise = whole_now.total - whole_now.labels * whole_before.mean
    tested: list[Carrier] = []
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
        deviation = math.sqrt(sum(side.variance_of_mean for side in sides))
        p_value = float(ndtr(-(excess - elsewhere) / deviation))
        share = min(max(now.labels * (excess - elsewhere) / rise, 0.0), 1.0)
        tested.append(Carrier(dict(segment), excess, elsewhere, share, round(now.labels), p_value))
    found = [of for of, named in zip(tested, benjamini_hochberg([of.p_value for of in tested], LEVEL), strict=True) if named]
    return sorted(found, key=lambda of: (-of.share, of.p_value, sorted(of.segment.items())))[:MAX_NAMED]


def benjamini_hochberg(p_values: Sequence[float], level: float) -> list[bool]:
    """Which of the hypotheses are rejected so that at most ``level`` of the rejections are false, on average.

    >>> benjamini_hochberg([0.01, 0.04, 0.9, 0.02], 0.05)
    [True, False, False, True]
    """
    ordered = sorted(p_values)
    most = max((p for rank, p in enumerate(ordered, 1) if p <= level * rank / len(ordered)), default=-1.0)
    return [p <= most for p in p_values]
