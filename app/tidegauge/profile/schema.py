"""What is known of a version's features before an event is read: types, bin edges, categories, bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

DECILES = 10
MISSING, BELOW, FIRST, ABOVE = 0, 1, 2, 12
BIN_COUNT = 13
"""Bins of a number: missing, below the baseline's range, ten deciles (fewer where quantiles tie), above the range."""


def decile_edges(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Edges (2 to 11, ascending) from the 11 quantiles 0, 0.1 ... 1 of reference values; ties fall together.

    A bin holds its lower edge, the last one its upper edge too, as in ``numpy.histogram``.
    """
    edges = np.unique(quantiles)
    return np.repeat(edges, 2) if len(edges) == 1 else edges


def bin_codes(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin (0 to 12) of each value (n); NaN is MISSING.

    >>> bin_codes(np.array([np.nan, -1.0, 0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [0, 1, 2, 3, 3, 12]
    """
    place = np.searchsorted(edges, values, side="right")
    codes = place + 1
    top = len(edges)
    beyond = place == top
    if beyond.any():
        codes[beyond] = np.where(values[beyond] > edges[-1], ABOVE, top)
        codes[np.isnan(values)] = MISSING
    return codes


class Schema:
    """Feature types and the bins to count in, with the id that says whose bins they are.

    ``edges``: number feature → its edges. ``values``: category feature → its known values. ``texts``: of those, the
    ones whose values are text, so that a number is a changed type. ``bounds``: inclusive, from the spec.
    """

    __slots__ = ("bounds", "edges", "id", "texts", "values")

    def __init__(
        self,
        id: str,
        edges: Mapping[str, NDArray[np.float64]],
        values: Mapping[str, frozenset[str]],
        texts: frozenset[str] = frozenset(),
        bounds: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.id = id
        self.edges = dict(edges)
        self.values = dict(values)
        self.texts = texts
        self.bounds = dict(bounds or {})
