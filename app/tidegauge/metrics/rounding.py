"""Rounds many numbers at once to decimal digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REACH = 22
"""Powers of ten up to this one are exact as floats, so that a whole number multiplied or divided by one is the float that is
nearest to the decimal number."""
_POWERS = np.array([float(10**power) for power in range(_REACH + 1)])


def to_decimals(values: NDArray[np.float64], decimals: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values (any shape) rounded to so many ``decimals`` each (the same shape), negative ones for tens and hundreds. Numbers
    that are not finite stay what they are.

    >>> to_decimals(np.array([1000.123456, 1234.5]), np.array([4, -2])).tolist()
    [1000.1235, 1200.0]
    """
    power = _POWERS[np.minimum(np.abs(decimals), _REACH)]
    with np.errstate(over="ignore", invalid="ignore"):
        found: NDArray[np.float64] = np.where(decimals < 0, np.rint(values / power) * power, np.rint(values * power) / power)
    far = (np.abs(decimals) > _REACH) | ~np.isfinite(found)
    if far.any():
        pairs = zip(values[far].tolist(), decimals[far].tolist(), strict=True)
        found[far] = [round(value, places) if np.isfinite(value) else value for value, places in pairs]
    return found


def to_digits(values: NDArray[np.float64], digits: int) -> NDArray[np.float64]:
    """Values (any shape) rounded to so many significant ``digits``.

    >>> to_digits(np.array([0.0123456789, 0.0, 1.5e-40, 98765.4]), 3).tolist()
    [0.0123, 0.0, 1.5e-40, 98800.0]
    """
    return to_decimals(values, digits - 1 - magnitudes(values))


def magnitudes(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The power of ten of the first digit of each value (any shape); 0 of 0 and of what is not finite.

    >>> magnitudes(np.array([0.02, 7.0, -12345.0, 0.0])).tolist()
    [-2, 0, 4, 0]
    """
    size = np.abs(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithms = np.floor(np.log10(size))
    return np.asarray(np.where(np.isfinite(logarithms), logarithms, 0.0), np.int64)
