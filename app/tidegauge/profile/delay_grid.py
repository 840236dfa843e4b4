"""The grid that label delays are counted on: as fine at a second as at a year, by the logarithm."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

DELAY_BINS = 640
DELAY_STEPS = 64
"""Label delays: bin 0 up to 1 s, then 64 bins a decade (3.7 % wide) up to 10**9.9 s."""


def delay_bins(delays: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of label delays in seconds, shape (n); negative delays (a label stamped before) are bin 0."""
    bins = np.ceil(np.log10(np.maximum(delays, 1.0)) * DELAY_STEPS)
    return np.asarray(np.clip(bins, 0, DELAY_BINS - 1).astype(np.int64))


def delay_of_bin(bin_: int) -> float:
    """The upper edge of a delay bin in seconds."""
    return float(10.0 ** (bin_ / DELAY_STEPS))


def quantile_of_delays(delays: NDArray[np.int64], q: float) -> float | None:
    total = int(delays.sum())
    if total <= 0:
        return None
    return delay_of_bin(int(np.searchsorted(np.cumsum(delays), math.ceil(q * total))))
