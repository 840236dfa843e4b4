"""What is known of a version's features before an event is read: types, bin edges, categories, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DECILES = 10
SHARES = np.array([0.0, 0.01, 0.05, *(np.arange(1, DECILES) / DECILES), 0.95, 0.99, 1.0])
"""Shares of the reference values below each edge: the deciles, with three steps in the outer ones to see into the tails."""
MISSING, BELOW, FIRST = 0, 1, 2
"""Where bins begin: missing, below the baseline's range, what lies within it; above it is the last bin."""
VALUE_FEATURE = "\x00value"
SCORE_FEATURE = "\x00score"
CLASS_FEATURE = "\x00class"
"""Names under which a schema carries the bins of the prediction itself beside those of the features."""
RESERVED = "\x00"
"""How those names begin; no feature's does."""
ATTRIBUTION = "\x00attribution:"
"""Before a feature's name: the name of its attribution's bins."""
_TAILS = (1, 2, 3, -4, -3, -2)
"""Which of SHARES divide the outer tenths."""


class Bins:
    """How one number is counted: each of ``values`` (V) by itself, the other values between ``rest`` (15), their quantiles at
    SHARES, or where ``rest`` is None and nothing else was in the reference, by the values they lie between. ``quantiles``
    (15) are those of all values. ``edges`` (E, ascending) follow from these: a bin holds its lower edge and not its upper
    one, so that one value's bin ends at the next number there is.

    Arrays that say of each of the ``size`` bins (missing, below, E - 1 between the edges, above): ``deciles`` in which of
    the bins of the PSI it lies, ``tails`` in which of 10 that divide only the outer tenths; ``upper`` whether it is at or
    above the 99th percentile, ``over`` whether it is above it, ``lower`` whether below the 1st; ``own`` whether it is one
    value's.
    """

    __slots__ = ("deciles", "edges", "lower", "over", "own", "quantiles", "rest", "size", "tails", "upper", "values")

    def __init__(
        self,
        quantiles: NDArray[np.float64],
        values: NDArray[np.float64] | None = None,
        rest: NDArray[np.float64] | None = None,
    ) -> None:
        self.quantiles = quantiles
        self.values = np.zeros(0) if values is None else values
        self.rest = quantiles if values is None else rest
        around = np.concatenate((self.values, np.nextafter(self.values, np.inf)))
        edges = around
        if self.rest is not None:
            # Between one of the values and the others' range there may be room for what the reference did not hold.
            around = np.concatenate((around, self.rest[:1], np.nextafter(self.rest[-1:], np.inf)))
            edges = np.concatenate((around, self.rest[self.rest < self.rest[-1]]))
            if len(self.values):
                edges = np.concatenate((edges, quantiles[[*_TAILS]]))
        self.edges = np.unique(edges)
        starts = self.edges[:-1]
        self.size = len(self.edges) + 2
        self.own = self._each(np.isin(starts, self.values), False, False)
        if self.rest is None:
            place = np.where(self.own[FIRST:-1], np.searchsorted(self.values, starts), len(self.values))
            last = len(self.values) + 1
        else:
            bounds = np.concatenate((around, self.rest[3:-3]))
            place, last = np.searchsorted(np.unique(bounds), starts, side="right") - 1, len(bounds) - 1
        self.deciles = self._each(FIRST + place, BELOW, FIRST + last)
        inner = np.unique(quantiles[[*_TAILS]])
        self.tails = self._each(FIRST + np.searchsorted(inner, starts, side="right"), BELOW, FIRST + len(_TAILS) + 1)
        self.upper = self._each(starts >= quantiles[-2], False, True)
        self.over = self._each(starts > quantiles[-2], False, True)
        self.lower = self._each(starts < quantiles[1], True, False)

    def _each(self, between: NDArray[Any], below: Any, above: Any) -> NDArray[Any]:
        """An array over all bins, of which the first is always False or 0."""
        out = np.zeros(self.size, between.dtype)
        out[BELOW], out[FIRST:-1], out[-1] = below, between, above
        return out


def bin_codes(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value (n): NaN is MISSING, ``len(edges) + 1`` is above the last edge.

    >>> bin_codes(np.array([np.nan, -1.0, 0.0, 1.0, 1.5, 2.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [0, 1, 2, 3, 3, 4]
    """
    codes = np.searchsorted(edges, values, side="right") + 1
    if (codes > len(edges)).any():
        codes[np.isnan(values)] = MISSING
    return codes


class Schema:
    """Feature types and the bins to count in, with the id that says whose bins they are.

    ``bins``: number feature → how it is counted. ``values``: category feature → its known values. ``texts``: of those,
    the ones whose values are text, so that a number is a changed type. ``further``: of those, the ones that have more values
    than are counted one by one, with the hashes of the others (``profile.category.KnownValues``). ``attributions``: features
    whose attributions have bins. ``width``: of an array that holds the bins of any number, at
    least that of missing values.
    """

    __slots__ = ("attributions", "bins", "edges", "further", "id", "texts", "values", "width")

    def __init__(
        self,
        id: str,
        bins: Mapping[str, Bins],
        values: Mapping[str, frozenset[str]],
        texts: frozenset[str] = frozenset(),
        further: Mapping[str, NDArray[np.uint32] | None] | None = None,
    ) -> None:
        self.id = id
        self.bins = dict(bins)
        self.width = max((of.size for of in self.bins.values()), default=1)
        self.edges = {name: of.edges for name, of in self.bins.items()}
        self.values = dict(values)
        self.texts = texts
        self.further = dict(further or {})
        self.attributions = tuple(name.removeprefix(ATTRIBUTION) for name in self.bins if name.startswith(ATTRIBUTION))
