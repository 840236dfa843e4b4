"""Which segments carry a drop of performance: those in which the loss rose by more than elsewhere, beyond chance.

All segments of a window are tested, and the share of false ones among those that are named is bounded (false discovery rate:
Benjamini and Hochberg 1995, valid under the positive dependence of segments that overlap: Benjamini and Yekutieli 2001).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scipy.special import ndtr

from tidegauge.engine.delta import Segment
from tidegauge.profile.outcome import OutcomeProfile, confusion_counts

LEVEL = 0.05
"""The share of segments that are named wrongly, on average."""
MIN_LABELS = 30
"""A segment of fewer labels, or with fewer elsewhere, is not tested: no normal approximation holds."""
MAX_NAMED = 5


class Carrier(NamedTuple):
    """A segment whose mean loss rose by ``excess`` against its own baseline, and by ``elsewhere`` in the rest of the window;
    ``share``: of the rise of the whole model, what it is too much; ``p_value``: of the difference, one-sided."""

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
        """With one pseudo-observation at either end, so that no error at all is not known for certain."""
        mean = (self.total + 1.0) / (self.labels + 2.0)
        return max((self.squares + 1.0) / (self.labels + 2.0) - mean * mean, 0.0) / self.labels


def squared_error(outcome: OutcomeProfile) -> Loss:
    """The squared error of scores, as the Brier score has it.

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
    """1 for a wrong class, 0 for the right one."""
    right = wrong = 0
    for predicted, actual, count in confusion_counts(outcome.confusion):
        right, wrong = right + count * (predicted == actual), wrong + count * (predicted != actual)
    return Loss(float(right + wrong), float(wrong), float(wrong))


def carriers(
    segments: Mapping[Segment, OutcomeProfile], baseline: Callable[[Segment], OutcomeProfile | None],
    loss: Callable[[OutcomeProfile], Loss],
) -> list[Carrier]:  # fmt: skip
    """The segments, of all but the whole model, (), that carry a rise of the ``loss``, those that carry most first.

    ``baseline``: the outcomes of a segment, or (), in the baseline; segments that it does not know are not tested, nor
    anything where the loss of the whole model did not rise.
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
