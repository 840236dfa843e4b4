"""Prediction limits for a new window, given how the baseline's own windows vary, allowing for the small number of windows."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import fdtrc, ndtr, stdtrit

from tidegauge.baseline.scored import RATIO, SCORES
from tidegauge.baseline.spread import Spread

STANDARD_DEVIATIONS = 3.0
THREE_SIGMA = float(ndtr(-STANDARD_DEVIATIONS))
"""The probability that a normal number is more than three standard deviations above its mean."""
DISTANCES = {
    "psi": 1.0, "tail_psi": 1.0, RATIO: 1.0, "js": 0.5, "ks": 0.5, "wasserstein": 0.5, "shift": 0.5,
    "mix_shift": 0.5, "missing_shift": 0.5, SCORES: 0.5,
}  # fmt: skip
"""The exponent with which each distance from the baseline decreases with the sample size as long as nothing has changed: PSI as
1 / n, KS as 1 / √n."""
SURE = 0.75
"""The share of the windows' degrees of freedom that is used. With it, the level holds for 8 windows or more, both if windows
differ by chance alone and if they differ more."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def reach(windows: int, level: float = THREE_SIGMA) -> float:
    """Half the width of Student's prediction interval, in standard deviations: a new window's number exceeds the mean by more
    than this with probability ``level``, where mean and standard deviation were estimated from so many ``windows``.

    >>> [round(reach(windows), 2) for windows in (8, 30, 1000)]
    [4.8, 3.33, 3.01]
    """
    quantile = stdtrit(windows - 1, 1 - level)
    return float(quantile * math.sqrt(1 + 1 / windows))


def out_of_sample(name: str, value: float, rows: int, whole: int) -> float:
    """The distance that a new window of ``rows`` would have from reference data of ``whole`` rows, given the ``value`` for a
    window that is part of them. A window that is part of the reference pulls it towards itself; a new one does not, and
    differs from it by the reference's own sampling error too.

    >>> round(out_of_sample("psi", 0.1, 100, 1000), 4), out_of_sample("mean", 0.1, 100, 1000)
    (0.1222, 0.1)
    """
    power = DISTANCES.get(name)
    return value if power is None or rows >= whole else value * float(((whole + rows) / (whole - rows)) ** power)


def spread_p_value(value: float, spread: Spread) -> float:
    """The probability of a distance at least as large in a window like the baseline's own, whose distances have this
    ``spread``.

    Such distances are taken for chi-square variables scaled to their mean and variance (Satterthwaite 1946), which allows for
    clustered data as the correction of Rao and Scott (1984) does; over a mean that was estimated itself, that is an F variable.
    The variance was estimated too, and the far tail depends on it: the degrees of freedom are taken one standard error lower,
    and the p-value is averaged over their (log-normal) error. They are never below 1, which is two classes' own: what windows
    differ by is a sum over many rows, and nearly normal.

    >>> round(spread_p_value(0.02, (0.01, 0.01, 100_000)), 3)
    0.136
    >>> round(spread_p_value(0.03, (0.01, 0.005, 20)), 4), round(spread_p_value(0.03, (0.01, 0.005, 200)), 4)
    (0.0147, 0.0041)
    """
    mean, deviation, windows = spread
    if mean <= 0 or deviation <= 0 or windows < 2:
        return float(value <= mean)
    freedom = max(2.0 * (mean / deviation) ** 2, 1.0)
    error = math.sqrt(2.0 / (windows - 1) + 12.0 / (freedom * windows))
    freedoms = freedom / (1.0 + error) * np.exp(_NODES * error)
    estimated = np.where(freedoms > 1.0, freedoms * windows, SURE * (windows - 1))
    return float(_WEIGHTS @ fdtrc(np.maximum(freedoms, 1.0), estimated, max(value, 0.0) / mean))
