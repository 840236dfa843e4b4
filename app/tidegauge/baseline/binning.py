"""Defines bins for reference values, and counts a profile's values in bins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.schema import BELOW, MISSING, SHARES, Bins, Schema, bin_codes
from tidegauge.profile.value_counts import MAX_VALUES

OWN_SHARE = 0.05
"""A value with at least this share of the reference has a bin of its own."""
MIN_TIES = 5
"""A value has a bin of its own only if it occurs at least this often; if there are few values, this often on average."""
_RANKS = (np.arange(80) + 0.5) / 80
"""Every value with a share of at least OWN_SHARE covers at least two of these ranks."""


def bins_of_values(values: NDArray[np.float64]) -> Bins:
    """The bins of a number with these reference values (n, at least one)."""
    found, counts = np.unique(values, return_counts=True)
    return _bins_of_counts(found, counts, np.quantile(values, SHARES))


def _bins_of_counts(values: NDArray[np.float64], counts: NDArray[np.int64], quantiles: NDArray[np.float64]) -> Bins:
    """The bins of ascending ``values`` (V) with their ``counts`` (V)."""
    total = int(counts.sum())
    if len(values) <= MAX_VALUES and total >= MIN_TIES * len(values):
        return Bins(quantiles, values, None)
    own = (counts >= OWN_SHARE * total) & (counts >= MIN_TIES)
    if not own.any():
        return Bins(quantiles)
    rest = np.repeat(values[~own], counts[~own])
    return Bins(quantiles, values[own], np.quantile(rest, SHARES) if len(rest) else None)


def bins_of_block(block: NumericBlock, row: int) -> Bins:
    """The bins of one number of a profile: exact where it has few values, else from its quantile sketch."""
    table = block.tables[row] if block.tables else None
    if table is not None and len(table[0]):
        values, counts = table
        return _bins_of_counts(values, counts, np.quantile(np.repeat(values, counts), SHARES))
    sketch = block.values.sketch(row)
    if sketch is None:
        return Bins(np.zeros(len(SHARES)))
    quantiles = np.array([block.low[row], *sketch.get_quantiles(SHARES[1:-1].tolist()), block.high[row]])
    met, times = np.unique(sketch.get_quantiles(_RANKS.tolist()), return_counts=True)
    below = np.array([sketch.get_rank(value, False) for value in met])
    shares = np.array([sketch.get_rank(value, True) for value in met]) - below
    own = (times > 1) & (shares >= OWN_SHARE) & (shares * sketch.n >= MIN_TIES)
    if not own.any():
        return Bins(quantiles)
    values, shares, below = met[own], shares[own], below[own]
    # The rank of each quantile of the other values among all values: the other values below it, plus the ties below it.
    others = 1.0 - float(shares.sum())
    passed = np.concatenate(([0.0], np.cumsum(shares)))
    begins = below - passed[:-1]
    wanted = SHARES * others
    ranks = np.clip(wanted + passed[np.searchsorted(begins, wanted, side="left")], 0.0, 1.0)
    rest = np.array(sketch.get_quantiles(ranks.tolist()))
    return Bins(quantiles, values, rest)


def bin_by(block: NumericBlock, schema: Schema, names: Mapping[str, str]) -> None:
    """Count the values of a block in the schema's bins, and drop its single values. ``names``: by feature of the schema, the
    feature of the block."""
    block.bins = np.zeros((len(block.names), schema.width), np.int64)
    for name, own in names.items():
        row = block.index(own)
        if row is not None and name in schema.bins:
            counts = counts_in(block, row, name, schema).counts
            block.bins[row, : len(counts)] = counts
    block.edges_id = schema.id
    block.tables = []


class BinCounts(NamedTuple):
    """Counts (B), and whether they are ``exact``; else they are estimated by a quantile sketch."""

    counts: NDArray[np.int64]
    exact: bool


def counts_in(block: NumericBlock, row: int, name: str, schema: Schema) -> BinCounts:
    """The counts of one feature of a block in the bins of the schema's feature ``name``."""
    bins = schema.bins[name]
    if block.bins is not None and block.edges_id == schema.id:
        return BinCounts(block.bins[row, : bins.size], True)
    table = block.tables[row] if block.tables else None
    if table is not None:
        values, times = table
        counts = np.bincount(bin_codes(values, bins.edges), times, bins.size).astype(np.int64)
    else:
        counts = _sketched(block.values.sketch(row), bins)
    counts[MISSING] = int(block.missing[row])
    return BinCounts(counts, table is not None)


def _sketched(sketch: Any, bins: Bins) -> NDArray[np.int64]:
    """The counts of a KLL sketch (None: no values), without missing values."""
    counts = np.zeros(bins.size, np.int64)
    if sketch is not None:
        below = [sketch.get_rank(edge, False) for edge in bins.edges.tolist()]
        counts[BELOW:] = np.diff(np.rint(np.array([0.0, *below, 1.0]) * sketch.n).astype(np.int64))
    return counts
