"""The direction in which a numeric feature has shifted, the size of the shift, and its p-value.

A distance over ten bins adds up all ways in which two distributions can differ, and has therefore little power for any single
one. Here six directions are tested separately, each with full power: location, scale, skewness and peakedness (the components
of Neyman's smooth test, 1937, on normal scores: van der Waerden 1952, Klotz 1962), and the shares of values beyond the
baseline's 1st and 99th percentile. All tests use only bin counts.
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
"""The share of the error probability that each direction's test gets. The most common kinds of shift get the largest."""
CLUSTERED = 1.5
"""The skewness of a sum of dependent values, relative to that of a sum of independent values with the same variance. The factor
holds for clusters of geometrically distributed size and for exponentially decaying correlation."""
TINY = 1e-300
"""The smallest p-value that is reported."""


def number_shift(
    counts: NDArray[np.int64], contrasts: Contrasts, path: str, dispersions: Dispersions | None, rows: int
) -> dict[str, Any]:
    """How a window's bin ``counts`` (B) have shifted from the reference.

    ``shift``: the largest standardised difference over all directions. For the location, 0.2 means that the mean moved by 0.2
    standard deviations of the normal scores (Cohen's d); for the tails it is in standard deviations of a single value.
    ``shift_in``: the direction of ``shift``. ``shift_z``: the standard score of each direction. ``shift_p_value``: the combined
    p-value of all directions, which allows for the overdispersion that ``dispersions`` have for members of ``path``.
    ``rows``: the number of predictions in the window.
    """
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
    """How the share of missing values (``missing`` of ``n``; in the reference ``before`` of ``total``) has risen.

    ``missing_shift``: the rise in standard deviations of a single value; its standard score; ``missing_p_value``: the p-value
    of a rise. Without any missing value now or before, or with too few values, there is no test.
    """
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
    """The standard score of the difference between a share and the reference's share, which is taken as at least 1e-4."""
    share = min(max(before / total, FLOOR), 1 - FLOOR)
    return (count / n - before / total) / math.sqrt(share * (1 - share) * (1 / n + 1 / total))


def combined(p_values: dict[str, float]) -> float:
    """Combine the p-values of all directions by their weighted harmonic mean (Wilson 2019), which is valid in the far tail
    whatever the dependence between them.

    >>> round(combined({name: 0.001 if name == "location" else 1.0 for name in WEIGHTS}), 6)
    0.002496
    """
    return min(1 / sum(weight / max(p_values[name], TINY) for name, weight in WEIGHTS.items()), 1.0)


def _factor(dispersions: Dispersions | None, path: str, name: str, rows: int) -> tuple[float, float]:
    return (1.0, math.inf) if dispersions is None else dispersions.factor(f"{path}.{SCORES}.{name}", rows)


def normal_score(z: float, skewness: float) -> float:
    """The normal score of a standardised value ``z`` of a Pearson type III distribution with this skewness.

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
    """The inverse of ``normal_score``: the standardised value that has the normal ``score`` (above 0).

    >>> round(upper_quantile(3.0, 0.3), 3), round(normal_score(upper_quantile(3.0, -0.3), -0.3), 3)
    (3.403, 3.0)
    """
    if abs(skewness) < 1e-3:
        return score
    shape, level = 4 / skewness**2, float(ndtr(-score))
    place = gammainccinv(shape, level) if skewness > 0 else gammaincinv(shape, level)
    return math.copysign(1.0, skewness) * float(place - shape) / math.sqrt(shape)


def _p_value(alone: float, z: float, skewness: float, factor: tuple[float, float], *, both: bool) -> float:
    """The p-value of a difference (two-sided if ``both``, otherwise of a rise). ``alone``: the normal score under the
    assumption of independent rows. If the windows show dependence (``factor``: variance relative to independent rows, and
    degrees of freedom), the standard score ``z`` is also compared with a scaled Student's t distribution, and the larger
    p-value holds."""
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
    """The normal score of the mid-p value (Lancaster 1961) of ``count`` of ``n`` against a reference of ``before`` of
    ``total``, by the binomial distribution that ``count`` has given the sum of both counts. For shares that are not small, both
    counts are scaled so that this distribution has the right variance.

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
