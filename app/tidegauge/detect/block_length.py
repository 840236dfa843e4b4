"""The length that the blocks of a block bootstrap need to preserve the dependence in a series."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

IN_A_ROW = 5
"""The dependence is taken to end where this many consecutive autocorrelations are within chance."""


def block_length(values: NDArray[np.float64], longest: float) -> float:
    """The block length, between 1 and ``longest``, with which a circular block bootstrap of ``values`` (n) estimates the
    variance of their mean best: Politis and White (2004), as corrected by Patton, Politis and White (2009).

    >>> rng = np.random.default_rng(0)
    >>> block_length(rng.normal(size=10_000), 500.0) < 5
    True
    """
    n = len(values)
    reach = math.ceil(math.sqrt(n)) + IN_A_ROW
    covariances = _autocovariances(values - values.mean(), min(4 * reach, n - 1))
    if covariances[0] <= 0:
        return 1.0
    chance = 2 * math.sqrt(math.log10(n) / n) * covariances[0]
    small = np.abs(covariances[1 : reach + IN_A_ROW]) < chance
    forgotten = np.flatnonzero(np.convolve(small, np.ones(IN_A_ROW, int), "valid") == IN_A_ROW)
    band = min(2 * max(int(forgotten[0]) if len(forgotten) else reach, 1), len(covariances) - 1)
    lags = np.arange(-band, band + 1)
    weighted = np.clip(2 * (1 - np.abs(lags) / band), 0.0, 1.0) * covariances[np.abs(lags)]
    spectrum, slope = float(weighted.sum()), float((np.abs(lags) * weighted).sum())
    if spectrum <= 0:
        return 1.0
    return float(min(max((1.5 * (slope / spectrum) ** 2 * n) ** (1 / 3), 1.0), longest))


def _autocovariances(centred: NDArray[np.float64], lags: int) -> NDArray[np.float64]:
    """The autocovariances at lags 0 to ``lags``, by the Fourier transform."""
    n = len(centred)
    spectrum = np.fft.rfft(centred, 2 * n)
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[: lags + 1] / n)
