"""Searches the ranges of features for those that carry a drop of performance, by a scan statistic of each (Kulldorff 1997).

Of a number all stretches of neighbouring ranges are looked at, of a category each value, and the missing values. The one whose
loss rose most significantly more than that of all other requests stands for the feature; its p-value is multiplied by how many
were looked at (Bonferroni), so that each feature is one hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from tidegauge.baseline.searched_ranges import MISSING, SearchedFeature, SearchedRanges
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.range_losses import MAX_RANGES, RangeSums, sums_of

MISSING_NAME, OTHERS_NAME = "missing", "other values"
MOST = 0.75
"""A range with a larger share of the window's labels is nearly everyone, and not looked at."""
SAME_LEVEL = 0.01
"""Further values of a category are named with the most significant one if their own p-value, multiplied likewise, is below
this."""


class RangeLosses(NamedTuple):
    """The losses by ``ranges`` of features, ``now`` and ``before`` (in the baseline)."""

    ranges: SearchedRanges
    now: SparseCounts
    before: SparseCounts

    def testable(self, least: int) -> int:
        """How many features can be tested, if a range and the rest need at least so many labels each."""
        sums = (sums_of(of).labels.sum(axis=1) for of in (self.now, self.before))
        return int((np.minimum(*sums) >= 2 * least).sum())


class FoundRange(NamedTuple):
    """The range of one feature whose mean loss rose most significantly more than elsewhere. ``name``: as of a segment's value;
    ``low``, ``high``: its ends, None where it has none; the other members as in ``carriers.Carrier``. ``log_p``: the logarithm
    of the feature's p-value."""

    feature: str
    name: str
    low: float | None
    high: float | None
    excess: float
    elsewhere: float
    share: float
    labels: int
    log_p: float


def found_ranges(losses: RangeLosses, passed_over: Container[str], largest: float, least: int) -> Iterator[FoundRange]:
    """The best range of each feature that can be tested. ``passed_over``: names of features that are not looked at;
    ``largest``: about how large a loss can be; ``least``: the fewest labels that a range, and the rest, need now and before."""
    now, before = sums_of(losses.now), sums_of(losses.before)
    for place, feature in enumerate(losses.ranges.features):
        if feature.name not in passed_over:
            found = _best(feature, _statistics(now, place), _statistics(before, place), largest, least)
            if found is not None:
                yield found


def _statistics(sums: RangeSums, place: int) -> NDArray[np.float64]:
    """The sums of one feature (MAX_RANGES, 3): labels, losses, squares of these."""
    return np.stack((sums.labels[place], sums.loss[place], sums.squares[place]), axis=1)


def _best(
    feature: SearchedFeature, now: NDArray[np.float64], before: NDArray[np.float64], largest: float, least: int
) -> FoundRange | None:
    chosen = _stretches(feature.size()) if feature.edges is not None else np.eye(MAX_RANGES)[: feature.size()]
    inside = [chosen @ of for of in (now, before)]
    outside = [of.sum(axis=0) - part for of, part in zip((now, before), inside, strict=True)]
    sides = [*inside, *outside]
    enough = np.min([side[:, 0] for side in sides], axis=0) >= least
    enough &= inside[0][:, 0] <= MOST * now[:, 0].sum()
    if not enough.any():
        return None
    chosen, sides = chosen[enough], [side[enough] for side in sides]
    grown = _variance(now.sum(axis=0), largest) / _variance(before.sum(axis=0), largest)
    excess, elsewhere, variance = _risen(sides, largest, float(grown))
    z = (excess - elsewhere) / np.sqrt(variance)
    best, tested = int(np.argmax(z)), len(z)
    members = chosen[best] > 0
    if feature.edges is None:
        also = (log_ndtr(-z) + math.log(tested) < math.log(SAME_LEVEL)) & (excess > elsewhere)
        members |= (chosen[also] > 0).any(axis=0)
        sides = [side[None] for of in (now, before) for side in (of[members].sum(axis=0), of[~members].sum(axis=0))]
        sides = [sides[0], sides[2], sides[1], sides[3]]
        if min(side[0, 0] for side in sides) >= least:
            excess, elsewhere, _ = _risen(sides, largest, float(grown))
            best = 0
        else:
            members, sides = chosen[best] > 0, [side[best : best + 1] for side in (*inside, *outside)]
    labels = float(now[members, 0].sum())
    total = now.sum(axis=0)
    rise = float(total[1] - total[0] * before[:, 1].sum() / before[:, 0].sum())
    if rise <= 0:
        return None
    share = min(max(labels * float(excess[best] - elsewhere[best]) / rise, 0.0), 1.0)
    log_p = min(float(log_ndtr(-z.max())) + math.log(tested), 0.0)
    name, low, high = _named(feature, np.flatnonzero(members).tolist())
    return FoundRange(feature.name, name, low, high, float(excess[best]), float(elsewhere[best]), share, round(labels), log_p)


def _risen(
    sides: list[NDArray[np.float64]], largest: float, grown: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """By how much the mean loss rose inside and outside, and the variance of the difference of both (k each). ``sides``:
    statistics (k, 3) inside now, inside before, outside now, outside before; ``grown``: how many times as large the variance of
    all losses is now.

    A few losses that are small by chance vary little as well, so each variance now is taken to be at least that of before,
    grown like that of all.
    """
    means = [side[:, 1] / side[:, 0] for side in sides]
    of = [_variance(side, largest) for side in sides]
    now = [np.maximum(of[0], grown * of[1]), np.maximum(of[2], grown * of[3])]
    each = (now[0], of[1], now[1], of[3])
    variance = np.sum([one / side[:, 0] for one, side in zip(each, sides, strict=True)], axis=0)
    return means[0] - means[1], means[2] - means[3], variance


def _variance(side: NDArray[np.float64], largest: float) -> NDArray[np.float64]:
    """The variance of the losses in statistics (…, 3)."""
    return variance_of_mean(side[..., 0], side[..., 1], side[..., 2], largest) * side[..., 0]


@lru_cache
def _stretches(size: int) -> NDArray[np.float64]:
    """Which of the ranges (MAX_RANGES) of a number with ``size`` ranges each candidate (k) consists of: the missing values, and
    every stretch of neighbours but the one of all values."""
    last = size - 1
    pairs = [(a, b) for a in range(1, last + 1) for b in range(a, last + 1) if (a, b) != (1, last)]
    chosen = np.zeros((len(pairs) + 1, MAX_RANGES))
    chosen[0, MISSING] = 1.0
    for row, (a, b) in enumerate(pairs, 1):
        chosen[row, a : b + 1] = 1.0
    return chosen


def _named(feature: SearchedFeature, codes: list[int]) -> tuple[str, float | None, float | None]:
    """The name of neighbouring ranges of a number or of values of a category, and the ends.

    >>> age = SearchedFeature("age", np.array([30.0, 45.5, 60.0]))
    >>> [_named(age, codes)[0] for codes in ([0], [1, 2], [2], [3, 4])]
    ['missing', 'below 45.5', '30 to 45.5', '45.5 or more']
    >>> _named(SearchedFeature("plan", None, ("b", "a")), [1, 3])
    ('b, other values', None, None)
    """
    if feature.edges is None:
        names = (MISSING_NAME, *feature.values, OTHERS_NAME)
        return ", ".join(names[code] for code in codes), None, None
    if codes == [MISSING]:
        return MISSING_NAME, None, None
    edges = [None, *feature.edges.tolist(), None]
    low, high = edges[codes[0] - 1], edges[codes[-1]]
    if low is None or high is None:
        return (f"below {high:.10g}" if low is None else f"{low:.10g} or more"), low, high
    return f"{low:.10g} to {high:.10g}", low, high


def variance_of_mean(
    labels: NDArray[np.float64], total: NDArray[np.float64], squares: NDArray[np.float64], largest: float
) -> NDArray[np.float64]:
    """The variance of mean losses, given the number of labels, the losses and their squares (any shape), with one
    pseudo-observation of 0 and one of the ``largest`` loss, so that it is never 0."""
    mean = (total + largest) / (labels + 2.0)
    return np.asarray(np.maximum((squares + largest * largest) / (labels + 2.0) - mean * mean, 0.0) / labels)
