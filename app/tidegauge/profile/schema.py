"""What is known of a version's features before an event is read: types, bin edges, categories, bounds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

DECILES = 10
SHARES = np.array([0.0, 0.01, 0.05, *(np.arange(1, DECILES) / DECILES), 0.95, 0.99, 1.0])
"""Shares of the reference values below each edge: the deciles, with three steps in the outer ones to see into the tails."""
MISSING, BELOW, FIRST, ABOVE = 0, 1, 2, len(SHARES) + 1
VALUE_FEATURE = "\x00value"
SCORE_FEATURE = "\x00score"
CLASS_FEATURE = "\x00class"
"""Names under which a schema carries the bins of the prediction itself beside those of the features."""
RESERVED = "\x00"
"""How those names begin; no feature's does."""
ATTRIBUTION = "\x00attribution:"
"""Before a feature's name: the name of its attribution's bins."""
BIN_COUNT = len(SHARES) + 2
"""Bins of a number: missing, below the baseline's range, 14 between the edges (fewer where quantiles tie), above the range."""


class Bins:
    """How one number is counted: ``edges`` (2 to 15, ascending) are its reference ``quantiles`` at SHARES (15), ties
    fallen together. A bin holds its lower edge, the last one its upper edge too, as in ``numpy.histogram``.

    Arrays that say of each bin (BIN_COUNT): ``deciles`` in which of 13 bins it lies (missing, below, ten deciles, above),
    ``tails`` in which of 10 that divide only the outer tenths; ``upper`` whether it is at or above the 99th percentile,
    ``lower`` whether below the 1st.
    """

    __slots__ = ("deciles", "edges", "lower", "quantiles", "tails", "upper")

    def __init__(self, quantiles: NDArray[np.float64]) -> None:
        self.quantiles = quantiles
        edges = np.unique(quantiles)
        self.edges = np.repeat(edges, 2) if len(edges) == 1 else edges
        starts = self.edges[:-1]
        self.deciles = _coarse(quantiles[3:-3], starts)
        self.tails = _coarse(quantiles[[1, 2, 3, -4, -3, -2]], starts)
        place = np.arange(BIN_COUNT)
        known = (place >= FIRST) & (place < FIRST + len(starts))
        low = np.zeros(BIN_COUNT)
        low[known] = starts
        self.upper = (known & (low >= quantiles[-2])) | (place == ABOVE)
        self.lower = (known & (low < quantiles[1])) | (place == BELOW)


def _coarse(inner: NDArray[np.float64], starts: NDArray[np.float64]) -> NDArray[np.intp]:
    """The coarse bin of each bin: missing and below stay apart, the bins that begin at ``starts`` fall between the
    ``inner`` edges, above is the last."""
    out = np.zeros(BIN_COUNT, np.intp)
    out[BELOW] = 1
    out[FIRST : FIRST + len(starts)] = FIRST + np.searchsorted(np.unique(inner), starts, side="right")
    out[ABOVE] = len(inner) + 3
    return out


def bin_codes(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin (0 to 16) of each value (n); NaN is MISSING.

    >>> bin_codes(np.array([np.nan, -1.0, 0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [0, 1, 2, 3, 3, 16]
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

    ``bins``: number feature → how it is counted. ``values``: category feature → its known values. ``texts``: of those,
    the ones whose values are text, so that a number is a changed type. ``attributions``: features whose attributions
    have bins.
    """

    __slots__ = ("attributions", "bins", "edges", "id", "texts", "values")

    def __init__(
        self,
        id: str,
        quantiles: Mapping[str, NDArray[np.float64]],
        values: Mapping[str, frozenset[str]],
        texts: frozenset[str] = frozenset(),
    ) -> None:
        self.id = id
        self.bins = {name: Bins(of) for name, of in quantiles.items()}
        self.edges = {name: of.edges for name, of in self.bins.items()}
        self.values = dict(values)
        self.texts = texts
        self.attributions = tuple(name.removeprefix(ATTRIBUTION) for name in self.bins if name.startswith(ATTRIBUTION))
