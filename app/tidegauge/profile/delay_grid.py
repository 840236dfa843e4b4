"""The grid that label delays are counted on: its bins are equally wide on the logarithmic scale, from a second to centuries."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

DELAY_BINS = 640
DELAY_STEPS = 64
"""Bin 0 holds delays up to 1 s; then each decade has 64 bins, each 3.7 % wide, up to 10**9.9 s."""


def delay_bins(delays: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bins (n) of label delays (n) in seconds. A negative delay, of a label from before its prediction, is in bin 0."""
    bins = np.ceil(np.log10(np.maximum(delays, 1.0)) * DELAY_STEPS)
    return np.asarray(np.clip(bins, 0, DELAY_BINS - 1).astype(np.int64))


def delay_of_bin(bin_: int) -> float:
    """The upper edge of a delay bin in seconds."""
    return float(10.0 ** (bin_ / DELAY_STEPS))


def quantile_of_delays(delays: NDArray[np.int64], q: float) -> float | None:
    """The quantile at ``q`` (0 to 1) of a histogram of label delays (DELAY_BINS), in seconds; None if it is empty."""
    total = int(delays.sum())
    if total <= 0:
        return None
    return delay_of_bin(int(np.searchsorted(np.cumsum(delays), math.ceil(q * total))))
