"""The schema of a version's features, known before any event is read: types, bin edges, categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DECILES = 10
SHARES = np.array([0.0, 0.01, 0.05, *(np.arange(1, DECILES) / DECILES), 0.95, 0.99, 1.0])
"""The shares of the reference values below each edge: the deciles, with the outer ones divided in three to resolve the
tails."""
MISSING, BELOW, FIRST = 0, 1, 2
"""The first bins: missing values, values below the baseline's range, and the first bin within the range. The last bin holds the
values above the range."""
VALUE_FEATURE = "\x00value"
SCORE_FEATURE = "\x00score"
CLASS_FEATURE = "\x00class"
"""The names under which a schema holds the bins of the prediction itself, besides those of the features."""
RESERVED = "\x00"
"""The first character of these names; no feature's name begins with it."""
ATTRIBUTION = "\x00attribution:"
"""Put before a feature's name to form the name of the bins of its attribution."""
_TAILS = (1, 2, 3, -4, -3, -2)
"""The indices of those SHARES that divide the outer tenths."""


class Bins:
    """The bins of one numeric feature.

    ``values`` (V): values so frequent that each has a bin of its own. ``rest`` (15): the quantiles of all other values at
    SHARES, between which those are counted; None if the reference has no other values, which then are counted by the values
    they lie between. ``quantiles`` (15): the quantiles of all values. ``edges`` (E, ascending) follow from these. A bin
    includes its lower edge but not its upper one, so the bin of a single value ends at the next representable number.

    There are ``size`` bins: missing, below, E - 1 between the edges, above. Arrays with one entry for each bin: ``deciles``,
    the bin of the population stability index (PSI) it belongs to; ``tails``, the one of 10 bins that divide only the outer
    tenths; ``upper``, whether it is at or above the 99th percentile; ``over``, whether it is above it; ``lower``, whether it is
    below the 1st; ``own``, whether it is the bin of a single value.
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
            # Between a value with a bin of its own and the range of the others there may be values that the reference lacks.
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
        """An array with one entry for each bin: False or 0 for missing values, then ``below``, ``between`` and ``above``."""
        out = np.zeros(self.size, between.dtype)
        out[BELOW], out[FIRST:-1], out[-1] = below, between, above
        return out


def bin_codes(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each value (n): MISSING for NaN, ``len(edges) + 1`` for values above the last edge.

    >>> bin_codes(np.array([np.nan, -1.0, 0.0, 1.0, 1.5, 2.0]), np.array([0.0, 1.0, 2.0])).tolist()
    [0, 1, 2, 3, 3, 4]
    """
    codes = np.searchsorted(edges, values, side="right") + 1
    if (codes > len(edges)).any():
        codes[np.isnan(values)] = MISSING
    return codes


class Schema:
    """Feature types and bins. ``id`` identifies the schema, so that only counts in the same bins are compared.

    ``bins``: the bins of each numeric feature. ``values``: the known values of each categorical feature. ``texts``: those
    categorical features whose values are text, for which a number is a type mismatch. ``further``: those with more values than
    are counted one by one, with the hashes of the other values (``profile.category.KnownValues``). ``attributions``: the
    features whose attributions have bins. ``width``: the length of an array that can hold the bins of any numeric feature, at
    least 1.
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
