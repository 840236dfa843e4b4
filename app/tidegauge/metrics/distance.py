"""Distances between two distributions: binned (PSI, Jensen-Shannon) and by quantile sketch (KS, Wasserstein)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov, rel_entr

from tidegauge.profile.schema import BELOW, Bins

FLOOR = 1e-4
MIN_TESTED = 20
"""No p-value is computed from fewer values than this."""
MIN_EXPECTED = 5.0
"""A chi-square cell must be expected to hold at least this many (Cochran 1954); smaller ones are pooled."""


def proportions(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares of each bin (B), floored at 1e-4."""
    return np.asarray(np.maximum(counts / counts.sum(), FLOOR))


def psi(current: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """Population stability index of two bin counts (B): sum of (q - p) ln(q / p) over floored shares.

    >>> round(psi(np.array([50, 50]), np.array([40, 60])), 4)
    0.0405
    """
    q, p = proportions(current), proportions(reference)
    return float(np.sum((q - p) * np.log(q / p)))


def jensen_shannon(current: NDArray[np.int64], reference: NDArray[np.int64]) -> float:
    """Jensen-Shannon distance (the square root of the divergence, natural logarithm) of two bin counts (B).

    >>> round(jensen_shannon(np.array([10, 0]), np.array([0, 10])), 4)
    0.8326
    """
    q, p = current / current.sum(), reference / reference.sum()
    m = (p + q) / 2
    return math.sqrt(max(float(rel_entr(p, m).sum() + rel_entr(q, m).sum()) / 2, 0.0))


class ChiSquare(NamedTuple):
    """A chi-square statistic and its degrees of freedom."""

    statistic: float
    freedom: int


class SketchDistances(NamedTuple):
    """KS statistic, and Wasserstein-1 distance in the feature's unit."""

    ks: float
    wasserstein: float


def chi_square_p(current: NDArray[np.int64], reference: NDArray[np.int64]) -> float | None:
    """P-value of the two-sample chi-square test of homogeneity on two bin counts (B); None where there is no test."""
    found = chi_square(current, reference)
    return None if found is None else float(chdtrc(found.freedom, found.statistic))


def chi_square(current: NDArray[np.int64], reference: NDArray[np.int64]) -> ChiSquare | None:
    """The two-sample chi-square statistic of homogeneity on two bin counts (B).

    Bins too small to test are pooled; None where fewer than two remain or a sample is too small for any.
    """
    n, m = int(current.sum()), int(reference.sum())
    if not n or not m:
        return None
    both = current + reference
    expected = both * (min(n, m) / (n + m))
    order = np.argsort(expected, kind="stable")
    order = order[both[order] > 0]
    few = int(np.searchsorted(expected[order], MIN_EXPECTED))
    pooled: list[tuple[int, int]] = []
    a = b = 0
    size = 0.0
    for place in order[:few].tolist():
        a, b, size = a + int(current[place]), b + int(reference[place]), size + float(expected[place])
        if size >= MIN_EXPECTED:
            pooled.append((a, b))
            a = b = 0
            size = 0.0
    pairs = np.array([*pooled, *np.stack((current, reference), axis=1)[order[few:]].tolist()], float).reshape(-1, 2)
    if len(pairs) < 2:
        return None
    # The remaining small bins are added to the smallest of the others, or to the last pool.
    pairs[len(pooled) if few < len(order) else -1] += (a, b)
    x, y = pairs.T
    return ChiSquare(float((((x * math.sqrt(m / n) - y * math.sqrt(n / m)) ** 2) / (x + y)).sum()), len(x) - 1)


def sketch_distances(current: Any, reference: Any) -> SketchDistances:
    """Distances of two KLL sketches, computed at the support points of both.

    The error of the KS statistic is at most the sum of the two rank errors
    (2 x 1.65 % at k = 200, 99 % confidence; none where both hold fewer than k values).
    """
    points = np.unique(np.concatenate((_support(current), _support(reference))))
    f, g = _cdf(current, points), _cdf(reference, points)
    gap = np.abs(f - g)
    return SketchDistances(float(gap.max()), float((gap[:-1] * np.diff(points)).sum()))


def distances_of_values(current: NDArray[np.int64], reference: NDArray[np.int64], bins: Bins) -> dict[str, float]:
    """``ks`` and ``wasserstein`` of two counts (B) in bins that hold either a single value or everything between two values.
    Both are exact; ``wasserstein`` is left out if there are values between or beyond the single ones."""
    counts = [of[BELOW:] for of in (current, reference)]
    gap = np.abs(np.subtract(*(np.cumsum(of) / of.sum() for of in counts)))
    # Between two single values the difference is monotonic, so it is largest at one of the two.
    numbers = {"ks": float(gap.max())}
    own = bins.own[BELOW:]
    if not any(of[~own].any() for of in counts):
        numbers["wasserstein"] = float((gap[own][:-1] * np.diff(bins.values)).sum())
    return numbers


def rank_error(sketch: Any) -> float:
    """The rank error of a KLL sketch, for its whole distribution at 99 % confidence; 0 while it holds every value."""
    return float(sketch.normalized_rank_error(True)) if sketch.is_estimation_mode() else 0.0


def ks_p_value(statistic: float, n: int, m: int, error: float) -> float:
    """P-value of the two-sample Kolmogorov-Smirnov test of ``n`` and ``m`` values, by its limiting distribution with the
    correction of Stephens (1970). The ``error`` of the statistic is subtracted first, so that error alone makes nothing
    significant."""
    root = math.sqrt(n * m / (n + m))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * max(statistic - error, 0.0)))


_RANKS = np.linspace(0.0, 1.0, 257).tolist()


def _support(sketch: Any) -> NDArray[np.float64]:
    # Ranks between those of two values, so that rounding skips no value.
    ranks = _RANKS if sketch.n > 256 else ((np.arange(sketch.n) + 0.5) / sketch.n).tolist()
    return np.unique(np.array([*sketch.get_quantiles(ranks), sketch.get_min_value(), sketch.get_max_value()]))


def _cdf(sketch: Any, points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(sketch.get_cdf(points.tolist(), True)[:-1])
