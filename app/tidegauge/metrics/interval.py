"""Confidence intervals from sums and counts: ratios, means, losses, and what is made of them.

``level`` is the two-sided confidence level (0.95). An interval is None where too few values carry it.
"""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.special import ndtri, stdtrit

Interval = tuple[float, float]
LEVEL = 0.95
"""The level of the intervals in a record."""


@lru_cache(64)
def _normal_quantile(level: float) -> float:
    return float(ndtri(0.5 + level / 2))


def wilson(successes: float, trials: float, level: float = LEVEL) -> Interval | None:
    """Score interval of a ratio (Wilson 1927); ``trials`` may be an effective number.

    >>> low, high = wilson(8, 10)
    >>> round(low, 4), round(high, 4)
    (0.4902, 0.9433)
    """
    if trials <= 0:
        return None
    p, z = successes / trials, _normal_quantile(level)
    spread = z * z / trials
    centre, half = p + spread / 2, math.sqrt(spread * (p * (1 - p) + spread / 4))
    # At 0 and 1 rounding must not leave the estimate outside.
    return min(p, max(0.0, (centre - half) / (1 + spread))), max(p, min(1.0, (centre + half) / (1 + spread)))


def within_unit(value: float, variance: float, trials: float, level: float = LEVEL) -> Interval | None:
    """Interval of an estimate in [0, 1] with a sampling variance: Wilson's, of as many trials as would give a ratio that
    variance (the design-effect argument of Kish 1965). ``trials`` stands in where the variance is 0, as it is when every
    observation agrees.

    >>> [round(x, 4) for x in within_unit(0.8, 0.8 * 0.2 / 10, 3)]
    [0.4902, 0.9433]
    """
    if variance > 0 and 0 < value < 1:
        trials = value * (1 - value) / variance
    return wilson(value * trials, trials, level)


def variance_of_mean(total: float, squares: float, count: float) -> float:
    """Sampling variance of a mean, of the sum and the sum of squares of ``count`` (2 or more) values."""
    return max(squares - total * total / count, 0.0) / (count - 1) / count


def mean(total: float, squares: float, count: float, level: float = LEVEL) -> Interval | None:
    """Student's interval of a mean. Values that can only have been 0 and 1 get Wilson's.

    >>> [round(x, 3) for x in mean(15.0, 55.0, 5)]
    [1.037, 4.963]
    >>> mean(8.0, 8.0, 10) == wilson(8, 10)
    True
    """
    if squares == total and 0 <= total <= count:
        return wilson(total, count, level)
    if count < 2:
        return None
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * math.sqrt(variance_of_mean(total, squares, count))
    return total / count - reach, total / count + reach


def positive(value: float, variance: float, freedom: float, level: float = LEVEL) -> Interval | None:
    """Interval of an estimate that cannot be negative, such as a mean loss: Student's on the logarithm (delta method),
    longer upwards as the distribution of such estimates is.

    >>> [round(x, 3) for x in positive(2.0, 0.04, 1000)]
    [1.644, 2.434]
    """
    if freedom < 1 or value < 0:
        return None
    if value == 0:
        return 0.0, 0.0
    factor = math.exp(min(float(stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(variance) / value, 700.0))
    return value / factor, value * factor


def mean_loss(total: float, squares: float, count: float, level: float = LEVEL) -> Interval | None:
    """Interval of the mean of losses, which are never negative."""
    if count < 2:
        return None
    return positive(total / count, variance_of_mean(total, squares, count), count - 1, level)


def root(interval: Interval | None) -> Interval | None:
    """Interval of the square root of what ``interval`` holds."""
    return None if interval is None else (math.sqrt(interval[0]), math.sqrt(interval[1]))
