"""The ranges of features among which those that carry a drop of performance are searched: a few of each feature of a baseline.

A number has the ranges between the baseline's deciles, which are rounded so that people can read them; a category has its
commonest values. What is missing is a range of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.category import OTHER, CategorySummary
from tidegauge.profile.data import DataColumns, DataProfile
from tidegauge.profile.range_losses import MAX_FEATURES, MAX_RANGES
from tidegauge.profile.schema import RESERVED, VALUE_FEATURE, Schema, bin_codes

MISSING = 0
"""The range of missing values. Those of a number follow in their order, those of a category from the commonest value on; the
last one of a category has its other values."""
MAX_VALUES = MAX_RANGES - 2
SHARE_OF_UNKNOWN_TRAFFIC = 0.125
"""The share of requests whose losses are counted by ranges if it is unknown how many come."""
_RESOLUTION = 20
"""Edges are rounded to a power of ten that is at most this part of the range between the outer deciles."""


class SearchedFeature(NamedTuple):
    """``edges`` (ascending): the numbers that separate the ranges of a number; None for a category with ``values``."""

    name: str
    edges: NDArray[np.float64] | None
    values: tuple[str, ...] = ()

    def size(self) -> int:
        """How many ranges there are."""
        return len(self.values) + 2 if self.edges is None else len(self.edges) + 2


class SearchedRanges(NamedTuple):
    """``id`` identifies features and edges, so that only losses in the same ranges are added up; ``unit``: the error of a
    regression that counts as a loss of 1, a power of two."""

    id: str
    unit: float
    features: tuple[SearchedFeature, ...]

    def codes(self, columns: DataColumns, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """The range (k, F) of each feature of the rows (k) with these numbers."""
        found = np.full((len(rows), len(self.features)), MISSING, np.uint8)
        numbers = {name: place for place, name in enumerate(columns.features.names)}
        categories = {of.name: of for of in columns.categories}
        for place, feature in enumerate(self.features):
            if feature.edges is None and feature.name in categories:
                column = categories[feature.name]
                known = {value: code for code, value in enumerate(feature.values, 1)}
                # The codes of missing and mistyped values, -1 and -2, select the last two elements.
                named = [*(known.get(value, len(known) + 1) for value in column.values), MISSING, MISSING]
                found[:, place] = np.array(named)[column.codes[rows]]
            elif feature.edges is not None and feature.name in numbers:
                found[:, place] = bin_codes(columns.features.x[numbers[feature.name], rows], feature.edges)
        return found


def searched_ranges(schema: Schema, data: DataProfile, weights: Mapping[str, float]) -> SearchedRanges:
    """The ranges of a baseline's features. ``weights``: how much each feature matters to the model; if there are more than
    MAX_FEATURES, those that matter most are taken, and without weights the first ones."""
    found = [SearchedFeature(name, _edges(of.quantiles)) for name, of in schema.bins.items() if not name.startswith(RESERVED)]
    for name in schema.values:
        if not name.startswith(RESERVED):
            found.append(SearchedFeature(name, None, _commonest(data.categories.get(name, CategorySummary()))))
    chosen = sorted(found, key=lambda of: -weights.get(of.name, 0.0))[:MAX_FEATURES]
    unit = _unit(schema)
    digest = hashlib.blake2b(repr(unit).encode(), digest_size=6)
    for name, edges, values in chosen:
        digest.update(repr((name, None if edges is None else edges.tolist(), values)).encode("utf-8", "replace"))
    return SearchedRanges(digest.hexdigest(), unit, tuple(chosen))


def _edges(quantiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The deciles among ``quantiles`` (at the SHARES of a schema), rounded.

    >>> _edges(np.linspace(0, 100, 15)).tolist()[:3], _edges(np.full(15, 3.0)).tolist()
    ([21.0, 29.0, 36.0], [3.0])
    """
    deciles = quantiles[3:-3]
    width = float(deciles[-1] - deciles[0])
    if not 0 < width < math.inf:
        return np.unique(deciles)
    digits = -math.floor(math.log10(width / _RESOLUTION))
    return np.unique([round(edge, digits) for edge in deciles.tolist()])


def _commonest(summary: CategorySummary) -> tuple[str, ...]:
    counts: dict[str, Any] = {value: count for value, count in summary.counts.items() if value != OTHER}
    return tuple(sorted(counts, key=lambda value: (-counts[value], value))[:MAX_VALUES])


def _unit(schema: Schema) -> float:
    """A power of two that is at least the width of the range of a regression's predictions, but for the outer hundredths."""
    bins = schema.bins.get(VALUE_FEATURE)
    width = 0.0 if bins is None else float(bins.quantiles[-2] - bins.quantiles[1])
    return math.ldexp(1.0, math.frexp(width)[1]) if 0 < width < math.inf else 1.0
