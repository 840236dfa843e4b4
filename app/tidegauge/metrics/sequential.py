"""Sequential comparison of two means: contrasts that add up over windows, and inference that is valid at every look.

A **contrast** is the difference between the means of a quantity of two versions, taken window by window, so that effects that
all requests of a window share (a storm, a holiday, a growing share of traffic) cancel out. Contrasts of several windows are
added.
"""

from __future__ import annotations

import math

import msgspec
from scipy.special import betaln

from tidegauge.profile.pairs import Moments

TUNED_FOR, TUNED_FOR_DISCORDANT, TUNED_LEVEL = 2000.0, 200.0, 0.01
"""The intervals are tuned to be narrowest at this many requests (pairs, or half the harmonic mean of two sample sizes) and this
many pairs on which only one version is right, at this level."""


class Sample(msgspec.Struct, frozen=True):
    """Values of one version: their number, their sum, and the sum of their squared deviations from the mean."""

    count: float
    total: float
    scatter: float


class Contrast(msgspec.Struct, frozen=True, array_like=True):
    """A quantity of two versions, added up over windows.

    ``weight``: what the windows' differences are weighted with, in requests: pairs, or n·m / (n + m) of two samples. ``first``
    and ``second``: the weighted sums of the windows' means. The variances of these sums, and their covariance, are
    ``spread_…`` times the pooled variance within windows, ``scatter_… / freedom_…``. ``count_…``: values. ``only_…``: of
    pairs and a quantity of zeros and ones, those where it is 1 of one version only.
    """

    weight: float = 0.0
    first: float = 0.0
    second: float = 0.0
    spread_first: float = 0.0
    spread_second: float = 0.0
    spread_joint: float = 0.0
    scatter_first: float = 0.0
    scatter_second: float = 0.0
    scatter_joint: float = 0.0
    freedom_first: float = 0.0
    freedom_second: float = 0.0
    freedom_joint: float = 0.0
    count_first: float = 0.0
    count_second: float = 0.0
    only_first: float = 0.0
    only_second: float = 0.0

    def __add__(self, other: Contrast) -> Contrast:
        return Contrast(*(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))

    def variance(self, factor: float = 1.0, binary: bool = False) -> float:
        """Variance of ``second - factor * first``. Of a ``binary`` quantity one value of either kind is added to what was
        seen, since a proportion of 0 in a sample does not mean that it is 0 (Agresti and Caffo 2000)."""
        extra = (0.5, 1.0) if binary else (0.0, 0.0)
        of_first = _ratio(self.scatter_first + extra[0], self.freedom_first + extra[1])
        of_second = _ratio(self.scatter_second + extra[0], self.freedom_second + extra[1])
        joint = _ratio(self.scatter_joint, self.freedom_joint)
        found = self.spread_second * of_second + factor * factor * self.spread_first * of_first
        return max(found - 2.0 * factor * self.spread_joint * joint, 0.0)

    @property
    def paired(self) -> bool:
        """Whether all of it comes from requests that both versions answered."""
        return self.spread_joint == self.weight


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 0.0


def paired(moments: Moments) -> Contrast:
    """The contrast of one window's pairs.

    >>> c = paired(Moments(4, 2.0, 3.0, 2.0, 3.0, 2.0))  # right: both, both, second only, neither
    >>> (c.second - c.first) / c.weight, round(c.variance() / c.weight, 3)
    (0.25, 0.25)
    """
    n, first, second = moments.count, moments.first, moments.second
    return Contrast(
        n, first, second, n, n, n,
        max(moments.first_squares - first * first / n, 0.0),
        max(moments.second_squares - second * second / n, 0.0),
        moments.products - first * second / n,
        n - 1, n - 1, n - 1, n, n, first - moments.products, second - moments.products,
    )  # fmt: skip


def two_sample(first: Sample, second: Sample) -> Contrast:
    """The contrast of two samples of one window.

    >>> c = two_sample(Sample(4, 4.0, 3.0), Sample(4, 6.0, 3.0))
    >>> (c.second - c.first) / c.weight, c.variance() / c.weight**2  # 1/4 + 1/4
    (0.5, 0.5)
    """
    weight = first.count * second.count / (first.count + second.count)
    return Contrast(
        weight, weight * first.total / first.count, weight * second.total / second.count,
        weight * weight / first.count, weight * weight / second.count, 0.0,
        first.scatter, second.scatter, 0.0, first.count - 1, second.count - 1, 0.0, first.count, second.count,
    )  # fmt: skip


def _precision(requests: float) -> float:
    """ρ² of the mixture that makes the interval narrowest at so many requests (Waudby-Smith et al. 2024)."""
    log = -2.0 * math.log(TUNED_LEVEL)
    return (log + math.log(log) + 1.0) / requests


def half_width(weight: float, variance: float, level: float) -> float:
    """Half the width of the confidence sequence of a weighted mean difference: the asymptotic one by the method of mixtures
    with normal weights (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024). At every look, and at all of
    them together, it covers the true difference with probability 1 - ``level``.

    ``weight``: of the contrast; ``variance``: of the weighted sum of differences, in the quantity's unit squared.

    >>> round(half_width(1000.0, 1000.0, 0.05), 4), round(1.96 / 1000**0.5, 4)
    (0.0962, 0.062)
    """
    if weight <= 0:
        return math.inf
    precision = _precision(TUNED_FOR)
    grown = weight * precision + 1.0
    return math.sqrt(variance / weight * grown / precision * (math.log(grown) - 2.0 * math.log(level))) / weight


def p_value(difference: float, weight: float, variance: float) -> float:
    """Always-valid p-value of no difference, whose test is that of ``half_width``: the reciprocal of the mixture likelihood
    ratio (Johari, Koomen, Pekelis and Walsh 2022). ``difference``: of the means.

    >>> width = half_width(500.0, 500.0, 0.05)
    >>> round(p_value(width, 500.0, 500.0), 6)
    0.05
    """
    if weight <= 0 or variance <= 0:
        return 1.0 if difference == 0 or weight <= 0 else 0.0
    precision = _precision(TUNED_FOR)
    grown = weight * precision + 1.0
    exponent = difference * difference * weight**3 / variance * precision / (2.0 * grown)
    return min(1.0, math.sqrt(grown) * math.exp(-min(exponent, 700.0)))


def mcnemar_p_value(first_only: float, second_only: float) -> float:
    """Always-valid p-value of two versions being right equally often, from the requests on which only one of them was: the
    reciprocal of the likelihood ratio of a beta-mixed binomial against a fair coin, which is a martingale if they are (Robbins
    1970). Exact for any sample.

    >>> mcnemar_p_value(5, 5), mcnemar_p_value(60, 20) < 0.001
    (1.0, True)
    """
    shape = max((1.0 / _precision(TUNED_FOR_DISCORDANT) - 1.0) / 2.0, 0.5)
    log = betaln(shape + first_only, shape + second_only) - betaln(shape, shape)
    log += (first_only + second_only) * math.log(2.0)
    return float(min(1.0, math.exp(min(-log, 0.0))))
