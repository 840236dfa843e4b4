"""In which direction a number has moved, by how much, and how surely.

A distance over ten bins sums up every way in which two distributions can differ, and so is blunt for each of them. Here a
difference is looked for in six directions, each a test of its own with all of its power: where the values lie, how widely,
how skewed and peaked they are (the components of a smooth test, Neyman 1937, on normal scores: van der Waerden 1952, Klotz
1962), and how many lie beyond the baseline's 1st and 99th percentile. All are read off bin counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammainc, gammaincc, gammainccinv, gammaincinv, ndtr, ndtri, stdtr

from tidegauge.baseline.contrasts import COMPONENTS, Contrasts
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.baseline.scored import SCORES
from tidegauge.metrics.distance import FLOOR, MIN_TESTED
from tidegauge.profile.schema import MISSING

WEIGHTS = {"location": 0.4, "scale": 0.2, "skewness": 0.05, "peakedness": 0.05, "upper_tail": 0.15, "lower_tail": 0.15}
"""Share of a number's error that each direction may spend. What is met most often gets most."""
CLUSTERED = 1.5
"""How much more skewed a sum of dependent values is than one of as many independent ones as give it its variance: so much
where they come in clusters of geometric size, or forget each other exponentially."""
TINY = 1e-300
"""No p-value is smaller."""


def number_shift(
    counts: NDArray[np.int64], contrasts: Contrasts, path: str, dispersions: Dispersions | None, rows: int
) -> dict[str, Any]:
    """``shift``, the largest standardised difference of a window's ``counts`` (B) from the reference over all
    directions: 0.2 in its location is a mean that moved by 0.2 standard deviations of normal scores (Cohen's d), tails differ
    in standard deviations of one value; ``shift_in``, its direction; ``shift_z``, each direction's standard score;
    ``shift_p_value``, all directions' tests together, with what ``dispersions`` say of the numbers below ``path`` allowed for.
    ``rows``: predictions of the window."""
    values = counts.copy()
    values[MISSING] = 0
    n, total = int(values.sum()), contrasts.total
    if not n or not total:
        return {}
    error = math.sqrt(1 / n + 1 / total)
    effects = dict(zip(COMPONENTS, (contrasts.scores @ (values / n - contrasts.shares)).tolist(), strict=True))
    p_values: dict[str, float] = {}
    for name, skew in zip(COMPONENTS, contrasts.skews.tolist(), strict=True):
        z = effects[name] / error
        alone = normal_score(z, skew * error)
        p_values[name] = _p_value(alone, z, skew * error, _factor(dispersions, path, name, rows), both=True)
    scored = {name: effect / error for name, effect in effects.items()}
    for name, (beyond, before) in zip(("upper_tail", "lower_tail"), contrasts.tails, strict=True):
        count = int(values[beyond].sum())
        z = _share_score(count, n, before, total)
        effects[name] = z * error
        if before * n >= total:
            scored[name] = z
        p_values[name] = _count_p_value(count, n, before, total, _factor(dispersions, path, name, rows), both=True)
    largest = max(effects, key=lambda name: abs(effects[name]))
    found = {"shift": abs(effects[largest]), "shift_in": largest, SCORES: scored}
    return found | ({"shift_p_value": combined(p_values)} if min(n, total) >= MIN_TESTED else {})


def missing_shift(
    missing: int, n: int, before: int, total: int, path: str, dispersions: Dispersions | None, rows: int
) -> dict[str, Any]:
    """``missing_shift``, how far the share of missing values (``missing`` of ``n``, ``before`` of ``total`` in the reference)
    has risen, in standard deviations of one value; its standard score; ``missing_p_value``, of a rise. There is no test where
    none is or was missing, or too little is known."""
    if not n or not total:
        return {}
    score = _share_score(missing, n, before, total)
    found: dict[str, Any] = {"missing_shift": score * math.sqrt(1 / n + 1 / total)}
    if before * n >= total:
        found[SCORES] = {"missing": score}
    if min(n, total) >= MIN_TESTED and missing + before:
        factor = _factor(dispersions, path, "missing", rows)
        found["missing_p_value"] = _count_p_value(missing, n, before, total, factor, both=False)
    return found


def _share_score(count: int, n: int, before: int, total: int) -> float:
    """The standard score of a share's difference from the reference's, which is floored at 1e-4."""
    share = min(max(before / total, FLOOR), 1 - FLOOR)
    return (count / n - before / total) / math.sqrt(share * (1 - share) * (1 / n + 1 / total))


def combined(p_values: dict[str, float]) -> float:
    """One p-value of a number's directions: their weighted harmonic mean (Wilson 2019), which holds its level in the far
    tail however they depend on each other.

    >>> round(combined({name: 0.001 if name == "location" else 1.0 for name in WEIGHTS}), 6)
    0.002496
    """
    return min(1 / sum(weight / max(p_values[name], TINY) for name, weight in WEIGHTS.items()), 1.0)


def _factor(dispersions: Dispersions | None, path: str, name: str, rows: int) -> tuple[float, float]:
    return (1.0, math.inf) if dispersions is None else dispersions.factor(f"{path}.{SCORES}.{name}", rows)


def normal_score(z: float, skewness: float) -> float:
    """The normal quantile of a standardised value of a skewed distribution (Pearson III).

    >>> round(normal_score(3.0, 0.3), 3), round(normal_score(-3.0, 0.3), 3), normal_score(3.0, 0.0)
    (2.689, -3.573, 3.0)
    """
    if abs(skewness) < 1e-3:
        return z
    shape = 4 / skewness**2
    sign = math.copysign(1.0, skewness)
    place = max(shape + sign * z * math.sqrt(shape), 0.0)
    above = max(float(gammaincc(shape, place)), TINY)
    return sign * float(-ndtri(above) if above < 0.5 else ndtri(max(float(gammainc(shape, place)), TINY)))


def upper_quantile(score: float, skewness: float) -> float:
    """Where a standardised value of a skewed distribution has this normal ``score`` (above 0): ``normal_score`` backwards.

    >>> round(upper_quantile(3.0, 0.3), 3), round(normal_score(upper_quantile(3.0, -0.3), -0.3), 3)
    (3.403, 3.0)
    """
    if abs(skewness) < 1e-3:
        return score
    shape, level = 4 / skewness**2, float(ndtr(-score))
    place = gammainccinv(shape, level) if skewness > 0 else gammaincinv(shape, level)
    return math.copysign(1.0, skewness) * float(place - shape) / math.sqrt(shape)


def _p_value(alone: float, z: float, skewness: float, factor: tuple[float, float], *, both: bool) -> float:
    """P-value of a difference, ``both`` ways or of a rise: of ``alone``, its normal score if rows are independent, or where
    they are not of ``z``, its standard score, by its variance from window to window, as Student's t."""
    variance, freedom = factor
    p_value = float(ndtr(-abs(alone) if both else -alone))
    if variance > 1 or freedom < math.inf:
        root = math.sqrt(variance)
        score = normal_score(z / root, CLUSTERED * skewness * root)
        p_value = max(p_value, float(stdtr(freedom, -abs(score) if both else -score)))
    return min(2 * p_value, 1.0) if both else p_value


def _count_p_value(count: int, n: int, before: int, total: int, factor: tuple[float, float], *, both: bool) -> float:
    share, error = min(max(before / total, FLOOR), 1 - FLOOR), math.sqrt(1 / n + 1 / total)
    skewness = (1 - 2 * share) / math.sqrt(share * (1 - share)) * error
    z = _share_score(count, n, before, total)
    return _p_value(count_score(count, n, before, total), z, skewness, factor, both=both)


def count_score(count: int, n: int, before: int, total: int) -> float:
    """The normal score of ``count`` of ``n`` where ``before`` of ``total`` are the reference: of the binomial distribution it
    has given both together, its mid-p (Lancaster 1961). Where the share is not small, both are taken at the size that gives
    this the variance it has there.

    >>> round(count_score(15, 500, 150, 15000), 2)
    3.54
    """
    if not count + before:
        return 0.0
    scale = 1 / max(1 - (count + before) / (n + total), FLOOR)
    here, there, chance = count * scale, before * scale, n / (n + total)
    reached = float(betainc(here, there + 1, chance)) if here > 0 else 1.0
    beyond = float(betainc(here + 1, there, chance)) if there > 0 else 0.0
    above = (reached + beyond) / 2
    return float(-ndtri(max(above, TINY)) if above < 0.5 else ndtri(max(1 - above, TINY)))
