"""What a baseline's spread from window to window says of a new window, with what so few windows leave uncertain."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import fdtrc, ndtr, stdtrit

from tidegauge.baseline.scored import RATIO, SCORES
from tidegauge.baseline.spread import Spread

STANDARD_DEVIATIONS = 3.0
THREE_SIGMA = float(ndtr(-STANDARD_DEVIATIONS))
"""How often a normal number lies three standard deviations above its mean."""
DISTANCES = {
    "psi": 1.0, "tail_psi": 1.0, RATIO: 1.0, "js": 0.5, "ks": 0.5, "wasserstein": 0.5, "shift": 0.5,
    "mix_shift": 0.5, "missing_shift": 0.5, SCORES: 0.5,
}  # fmt: skip
"""Distances from the baseline, and the power of 1 over the sample size with which they grow where nothing has changed."""
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def reach(windows: int, level: float = THREE_SIGMA) -> float:
    """Standard deviations within which a new window's number lies but for a share ``level`` of windows, when mean and
    deviation were estimated from so many of them: Student's t prediction interval.

    >>> [round(reach(windows), 2) for windows in (8, 30, 1000)]
    [4.8, 3.33, 3.01]
    """
    quantile = stdtrit(windows - 1, 1 - level)
    return float(quantile * math.sqrt(1 + 1 / windows))


def as_new(name: str, value: float, rows: int, whole: int) -> float:
    """A distance of a window of ``rows`` from the reference data of ``whole`` rows that it is part of, as a new window would
    have it: that one does not pull the reference towards itself, but differs by the reference's own chance too.

    >>> round(as_new("psi", 0.1, 100, 1000), 4), as_new("mean", 0.1, 100, 1000)
    (0.1222, 0.1)
    """
    power = DISTANCES.get(name)
    return value if power is None or rows >= whole else value * float(((whole + rows) / (whole - rows)) ** power)


def spread_p_value(value: float, spread: Spread) -> float:
    """How likely a distance at least as large is in a window like the baseline's own, by a chi-square scaled to their mean
    and variance (Satterthwaite 1946), which allows for clustered data as Rao and Scott's (1984) correction does; by F, since
    the mean was estimated from as many windows. So was the variance, on which the far tail depends: the freedom is taken
    one standard error lower, and the p-value averaged over its error (log-normal).

    >>> round(spread_p_value(0.02, (0.01, 0.01, 100_000)), 3)
    0.136
    >>> round(spread_p_value(0.03, (0.01, 0.005, 20)), 4), round(spread_p_value(0.03, (0.01, 0.005, 200)), 4)
    (0.0147, 0.0041)
    """
    mean, deviation, windows = spread
    if mean <= 0 or deviation <= 0 or windows < 2:
        return float(value <= mean)
    freedom = 2.0 * (mean / deviation) ** 2
    error = math.sqrt(2.0 / (windows - 1) + 12.0 / (freedom * windows))
    freedoms = freedom / (1.0 + error) * np.exp(_NODES * error)
    return float(_WEIGHTS @ fdtrc(freedoms, freedoms * windows, max(value, 0.0) / mean))
