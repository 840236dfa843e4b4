"""Confidence intervals of ratios, means and losses, computed from sums and counts.

``level`` is the two-sided confidence level (0.95). An interval is None if it would rest on too few values.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from scipy.special import ndtri, stdtrit

LEVEL = 0.95
"""The level of the intervals in a record."""


class Interval(NamedTuple):
    """The bounds of an interval, with ``low`` at most ``high``. In a record it is an array of two numbers."""

    low: float
    high: float

    def is_finite(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)


@lru_cache(64)
def normal_quantile(level: float) -> float:
    """How many standard deviations an interval at this level reaches to each side."""
    return float(ndtri(0.5 + level / 2))


@lru_cache(1 << 12)
def _t_quantile(freedom: float, level: float) -> float:
    return float(stdtrit(freedom, 0.5 + level / 2))


def wilson(successes: float, trials: float, level: float = LEVEL) -> Interval | None:
    """The score interval of a ratio (Wilson 1927). ``trials`` may be fractional, as effective sample sizes are.

    >>> low, high = wilson(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if trials <= 0:
        return None
    p, z = successes / trials, normal_quantile(level)
    spread = z * z / trials
    centre, half = p + spread / 2, math.sqrt(spread * (p * (1 - p) + spread / 4))
    # Rounding must not put an estimate of 0 or 1 outside its interval.
    low, high = max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))
    return Interval(min(p, low), max(p, high))


def within_unit(value: float, variance: float, trials: float, level: float = LEVEL) -> Interval | None:
    """The interval of an estimate in [0, 1] with this sampling ``variance``: Wilson's interval for the number of trials at
    which a ratio has that variance (effective sample size, Kish 1965). ``trials`` is used if the variance is 0, as it is when
    all observations agree.

    >>> [round(x, 4) for x in within_unit(0.8, 0.8 * 0.2 / 10, 3)]
    [0.4902, 0.9433]
    """
    if variance > 0 and 0 < value < 1:
        trials = value * (1 - value) / variance
    return wilson(value * trials, trials, level)


def variance_of_mean(total: float, squares: float, count: float) -> float:
    """Sampling variance of the mean of ``count`` (2 or more) values, from their sum and the sum of their squares."""
    return max(squares - total * total / count, 0.0) / (count - 1) / count


def mean(total: float, squares: float, count: float, level: float = LEVEL) -> Interval | None:
    """The interval of the mean of ``count`` values, from their sum and the sum of their squares: Student's interval, or
    Wilson's if the values can only be 0 and 1.

    >>> [round(x, 3) for x in mean(15.0, 55.0, 5)]
    [1.037, 4.963]
    >>> mean(8.0, 8.0, 10) == wilson(8, 10)
    True
    """
    if squares == total and 0 <= total <= count:
        return wilson(total, count, level)
    if count < 2:
        return None
    reach = _t_quantile(count - 1, level) * math.sqrt(variance_of_mean(total, squares, count))
    return Interval(total / count - reach, total / count + reach)


def positive(value: float, variance: float, freedom: float, level: float = LEVEL) -> Interval | None:
    """The interval of an estimate that cannot be negative, such as a mean loss: Student's interval of the logarithm (delta
    method), which is longer upwards, as such estimates are skewed. ``freedom``: degrees of freedom of ``variance``.

    >>> [round(x, 3) for x in positive(2.0, 0.04, 1000)]
    [1.644, 2.434]
    """
    if freedom < 1 or value < 0:
        return None
    if value == 0:
        return Interval(0.0, 0.0)
    factor = math.exp(min(_t_quantile(freedom, level) * math.sqrt(variance) / value, 700.0))
    return Interval(value / factor, value * factor)


def mean_loss(total: float, squares: float, count: float, level: float = LEVEL) -> Interval | None:
    """Interval of the mean of losses, which are never negative."""
    if count < 2:
        return None
    return positive(total / count, variance_of_mean(total, squares, count), count - 1, level)


def root(interval: Interval | None) -> Interval | None:
    """The interval of the square root of a quantity with this ``interval``."""
    return None if interval is None else Interval(math.sqrt(interval.low), math.sqrt(interval.high))
