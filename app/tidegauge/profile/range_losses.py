"""Losses by ranges of features: of sampled outcomes, how much each range (or value) of each feature adds to the loss.

The ranges are those of a baseline (``baseline/searched_ranges.py``). Losses lie between 0 and 1 and are rounded once, to
multiples of 2**-16, so that all sums are whole numbers: additive, and taken back exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import counts
from tidegauge.profile.counts import SparseCounts

MAX_FEATURES, MAX_RANGES = 64, 16
"""How many features have ranges, and how many ranges each has at most."""
LABELS, LOSS, SQUARES = range(3)
"""What is summed for each range: outcomes, their losses, and the squares of these."""
_CELLS = MAX_FEATURES * MAX_RANGES
SPACE = (SQUARES + 1) * _CELLS
"""Where the keys of the sums end: the statistic, then the feature, then the range."""
UNITS = 1 << 16
"""How many units a loss of 1 has."""


class RangeCodes(NamedTuple):
    """In which ranges the features of sampled rows lie. ``ranges``: the id of the baseline's ranges; ``unit``: the error of a
    regression that counts as a loss of 1; ``rows`` (m, ascending): the numbers of the sampled rows; ``codes`` (m, F): the range
    of each feature."""

    ranges: str
    unit: float
    rows: NDArray[np.int64]
    codes: NDArray[np.uint8]

    def take(self, rows: NDArray[np.intp], count: int) -> RangeCodes:
        """The codes of the rows (k) with these numbers out of ``count``, in this order."""
        place = np.full(count, -1)
        place[self.rows] = np.arange(len(self.rows))
        chosen = place[rows]
        kept = np.flatnonzero(chosen >= 0)
        return RangeCodes(self.ranges, self.unit, kept, self.codes[chosen[kept]])


class RangeSums(NamedTuple):
    """Sums over the outcomes in each range of each feature: how many there are, their losses, and the squares of these (each
    MAX_FEATURES, MAX_RANGES)."""

    labels: NDArray[np.float64]
    loss: NDArray[np.float64]
    squares: NDArray[np.float64]


def together(parts: list[tuple[RangeCodes | None, int]]) -> RangeCodes | None:
    """Concatenate codes, each with the number of rows it is of; all that are not None must be of the same ranges."""
    found = [of for of, _ in parts if of is not None]
    if not found:
        return None
    begins = np.cumsum([0, *(count for _, count in parts)]).tolist()
    rows = [begin + of.rows for begin, (of, _) in zip(begins, parts, strict=False) if of is not None]
    return RangeCodes(found[0].ranges, found[0].unit, np.concatenate(rows), np.concatenate([of.codes for of in found]))


def grouped(
    codes: RangeCodes, losses: NDArray[np.float64], sign: NDArray[np.int64], group: NDArray[np.int64], groups: int
) -> list[SparseCounts]:
    """The sums of each of ``groups`` groups. ``losses``, ``sign``, ``group`` (n): of all rows, with NaN for an unknown loss and
    -1 for a row in no group.

    >>> codes = RangeCodes("r", 1.0, np.array([0, 2]), np.array([[1], [3]], np.uint8))
    >>> (found,) = grouped(codes, np.array([0.5, 1.0, 1.0]), np.array([1, 1, -1]), np.zeros(3, int), 1)
    >>> sums_of(found).labels[0, :4].tolist(), sums_of(found).loss[0, :4].tolist(), sums_of(found).squares[0, :4].tolist()
    ([0.0, 1.0, 0.0, -1.0], [0.0, 0.5, 0.0, -1.0], [0.0, 0.25, 0.0, -1.0])
    """
    taken = (group[codes.rows] >= 0) & ~np.isnan(losses[codes.rows])
    return _summed(codes, taken, [_statistics(losses[codes.rows[taken]])], [sign], group, groups)


def regrouped(
    codes: RangeCodes, losses: NDArray[np.float64], others: NDArray[np.float64], sign: NDArray[np.int64],
    group: NDArray[np.int64], groups: int,
) -> list[SparseCounts]:  # fmt: skip
    """What to add to the sums of ``grouped`` if the losses are ``others`` (n)."""
    rows = codes.rows
    taken = (group[rows] >= 0) & (losses[rows] != others[rows]) & ~np.isnan(losses[rows]) & ~np.isnan(others[rows])
    said, other = _statistics(losses[rows[taken]]), _statistics(others[rows[taken]])
    return _summed(codes, taken, [said, other], [-sign, sign], group, groups)


def _statistics(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """What each row (n) adds to the sums (3, n)."""
    return np.stack((np.ones(len(losses)), np.rint(losses * UNITS), np.rint(losses * losses * UNITS))).astype(np.int64)


def _summed(
    codes: RangeCodes, taken: NDArray[np.bool_], statistics: list[NDArray[np.int64]], signs: list[NDArray[np.int64]],
    group: NDArray[np.int64], groups: int,
) -> list[SparseCounts]:  # fmt: skip
    rows, chosen = codes.rows[taken], codes.codes[taken].astype(np.int64)
    weights = sum(of * sign[rows] for of, sign in zip(statistics, signs, strict=True))
    assert isinstance(weights, np.ndarray)
    cells = chosen + MAX_RANGES * np.arange(chosen.shape[1])
    shape = (SQUARES + 1, *cells.shape)
    keys = np.broadcast_to(cells + _CELLS * np.arange(SQUARES + 1)[:, None, None], shape)
    owners = np.broadcast_to(group[rows][:, None], shape)
    return counts.grouped(owners.ravel(), keys.ravel(), np.broadcast_to(weights[:, :, None], shape).ravel(), groups, SPACE)


def sums_of(table: SparseCounts) -> RangeSums:
    """The sums in a table."""
    labels, loss, squares = table.dense(0, SPACE).reshape(SQUARES + 1, MAX_FEATURES, MAX_RANGES).astype(np.float64)
    return RangeSums(labels, loss / UNITS, squares / UNITS)
