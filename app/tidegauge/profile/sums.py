"""Exact sums, from which any term can be subtracted again without a trace, in any order.

Floating-point sums depend on the order of their terms and do not return to zero when all terms are subtracted again. A late
correction must leave no trace, so each term is rounded once to a multiple of 2**-60 (an absolute error below 1e-18; doubles of
magnitude 2**-8 and more are not changed), and the sums are integers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

UNIT_BITS = 60
MAX_TERM = 2.0**80
"""Terms of larger magnitude (1.2e24) are clipped to it; callers leave out values that are implausible."""
_IN_CACHE = 8192
"""How many numbers are processed at once, so that they fit into the processor's cache."""


def grouped(values: NDArray[np.float64], starts: NDArray[np.intp]) -> list[int]:
    """Sums, in units of 2**-60, of the runs of ``values`` (n) that begin at ``starts`` (G). NaN counts as 0.

    >>> [total(s) for s in grouped(np.array([0.1, 0.2, -0.1, -0.2]), np.array([0, 2]))]
    [0.30000000000000004, -0.30000000000000004]
    """
    a, b, c, d = np.add.reduceat(limbs(values), starts, axis=1).tolist()
    return [of_limbs(*sums) for sums in zip(a, b, c, d, strict=True)]


def limbs(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Values (any shape S) as integers of four parts each (4, *S), whose sums are the parts of the sum. NaN counts as 0."""
    if values.ndim > 1 and values.size > _IN_CACHE:
        # A single row fits into the processor's cache.
        return np.stack([limbs(row) for row in values], axis=1)
    rest = np.minimum(np.abs(values), MAX_TERM)
    rest[np.isnan(rest)] = 0.0
    parts = np.empty((4, *values.shape))
    np.floor(np.multiply(rest, 2.0**-40, out=parts[0]), out=parts[0])
    rest -= parts[0] * 2.0**40
    for part in parts[1:3]:
        np.floor(rest, out=part)
        rest -= part
        rest *= 2.0**30
    np.rint(rest, out=parts[3])
    parts *= np.copysign(1.0, values)
    return parts.astype(np.int64)


def of_limbs(top: int, middle: int, upper: int, lower: int) -> int:
    """The sum in units of 2**-60, given the sums of the four parts that ``limbs`` returns."""
    return (((top << 40) + middle) << UNIT_BITS) + (upper << 30) + lower


SCALE_BITS, LEAST_BIT = 100, -20
"""Scale k holds magnitudes from 2**-20 to 2**80 in units of 2**(100 k)."""
MAX_SCALED = 2.0**960


def scaled(name: str, terms: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Divide the ``terms`` (n) of a sum of unknown magnitude, such as fourth powers, into one sum for each scale: the sum
    ``name@k`` is in units of 2**(100 k), so that no term is clipped or rounded to 0. Terms beyond 2**960 count as 0.

    >>> {of: terms.tolist() for of, terms in scaled("x", np.array([2.0, 2.0**101])).items()}
    {'x@0': [2.0, 0.0], 'x@1': [0.0, 2.0]}
    """
    size = np.abs(terms)
    beyond = (size >= MAX_TERM) | ((size < 2.0**LEAST_BIT) & (size > 0))
    if not beyond.any():
        return {f"{name}@0": terms}
    found = {f"{name}@0": np.where(beyond, 0.0, terms)}
    rows = np.flatnonzero(beyond & (size < MAX_SCALED))
    scales = (np.frexp(terms[rows])[1] - 1 - LEAST_BIT) // SCALE_BITS
    for scale in np.unique(scales).tolist():
        of = rows[scales == scale]
        found[f"{name}@{scale}"] = np.zeros(len(terms))
        found[f"{name}@{scale}"][of] = np.ldexp(terms[of], -SCALE_BITS * scale)
    return found


def scaled_total(sums: dict[str, int], name: str) -> float:
    """The total of the sums into which ``scaled`` divides the sum ``name``."""
    return sum(
        math.ldexp(total(units), SCALE_BITS * int(of.removeprefix(f"{name}@")))
        for of, units in sums.items()
        if of.rpartition("@")[0] == name
    )


def within_reach(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values with NaN in place of those that are too large to be summed exactly."""
    return np.where(np.abs(values) < MAX_TERM, values, np.nan)


def total(units: int) -> float:
    """The sum as a float, correctly rounded."""
    return units / (1 << UNIT_BITS)


def add(into: dict[str, int], other: dict[str, int], sign: int = 1) -> None:
    """Add ``other`` times ``sign`` to ``into``, member by member; a member that becomes zero is removed."""
    for name, units in other.items():
        add_to(into, name, sign * units)


def add_to(into: dict[str, int], name: str, units: int) -> None:
    """Add to one member of ``into``, which is removed if it becomes zero."""
    value = into.get(name, 0) + units
    if value:
        into[name] = value
    else:
        into.pop(name, None)


def pack(sums: dict[str, int]) -> dict[str, bytes]:
    return {name: value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True) for name, value in sums.items()}


def add_packed(into: dict[str, int], packed: dict[str, bytes]) -> None:
    """Add packed sums to ``into``, like ``add``."""
    read = int.from_bytes
    for name, raw in packed.items():
        value = into.get(name, 0) + read(raw, "little", signed=True)
        if value:
            into[name] = value
        else:
            into.pop(name, None)


def unpack(packed: dict[str, bytes]) -> dict[str, int]:
    return {name: int.from_bytes(raw, "little", signed=True) for name, raw in packed.items()}
