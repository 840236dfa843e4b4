"""Distances and tests of many numeric features at once: the same as ``metrics.drift`` and ``metrics.distance``, for rows of
arrays.

A window of a model with many features needs as many comparisons, each of which is a handful of NumPy calls on a dozen bins that
cost little more than the calls themselves. Counts with fewer bins are padded with empty bins, which change none of the results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, rel_entr

from tidegauge.baseline.contrasts import Contrasts
from tidegauge.metrics.distance import FLOOR, MIN_EXPECTED, MIN_TESTED
from tidegauge.metrics.shift_columns import ContrastColumns
from tidegauge.profile.schema import MISSING, Bins


class ReferenceColumns:
    """The part of the comparison that is the same for all windows: a baseline's counts of F features in the bins in which
    windows are compared with it, and their contrasts."""

    __slots__ = ("_before", "_beyond", "_places", "contrasts")

    def __init__(self, bins: Sequence[Bins], counts: Sequence[NDArray[np.int64]], contrasts: Sequence[Contrasts]) -> None:
        before = side_by_side(counts)
        self.contrasts = ContrastColumns(contrasts)
        self._places = [side_by_side(of) for of in ([b.deciles for b in bins], [b.tails for b in bins])]
        self._before = [gather(before, of) for of in self._places]
        self._beyond = [side_by_side(of) for of in ([b.upper for b in bins], [b.lower for b in bins])]

    @classmethod
    def joined(cls, columns: Sequence[ReferenceColumns]) -> ReferenceColumns:
        """Those of several baselines with the same bins, one after the other."""
        found = cls.__new__(cls)
        found.contrasts = ContrastColumns.joined([of.contrasts for of in columns])
        for member in ("_places", "_before", "_beyond"):
            setattr(found, member, [np.concatenate(of) for of in zip(*(getattr(c, member) for c in columns), strict=True)])
        return found

    @property
    def width(self) -> int:
        """The number of bins B."""
        return int(self._places[0].shape[1])

    def deciles(self, counts: NDArray[np.int64]) -> BinnedDrifts:
        """Drift over the bins of the population stability index, from exact ``counts`` (F, B) of a window."""
        return binned_drifts(gather(counts, self._places[0]), self._before[0])

    def drifts(self, counts: NDArray[np.int64]) -> list[dict[str, Any]]:
        """The result of ``drift.number_drift`` for each feature, from exact ``counts`` (F, B) of a window."""
        pairs = [(gather(counts, places), before) for places, before in zip(self._places, self._before, strict=True)]
        deciles, tails = (binned_drifts(*pair) for pair in pairs)
        distances = jensen_shannons(*pairs[0]).tolist()
        values = np.maximum(counts.sum(axis=1) - counts[:, MISSING], 1)
        upper, lower = (((counts * of).sum(axis=1) / values).tolist() for of in self._beyond)
        members = zip(deciles.members(), distances, tails.members(), upper, lower, strict=True)
        return [
            ({"psi": drift["psi"], "js": js} | drift if drift else {})
            | {f"tail_{name}": number for name, number in tail.items()}
            | {"above_p99_ratio": above, "below_p01_ratio": below}
            for drift, js, tail, above, below in members
        ]


def side_by_side(counts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Bin counts of F features, or other arrays over their bins, as one array (F, B) that is padded with empty bins."""
    found = np.zeros((len(counts), max(map(len, counts), default=0)), np.int64)
    for row, of in zip(found, counts, strict=True):
        row[: len(of)] = of
    return found


def gather(counts: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (F, B) summed in coarser bins (F, C). ``places`` (F, B): the coarser bin of each bin."""
    width = int(places.max()) + 1
    rows = np.arange(len(counts))[:, None] * width
    return np.bincount((rows + places).ravel(), counts.ravel(), len(counts) * width).astype(np.int64).reshape(-1, width)


class BinnedDrifts(NamedTuple):
    """PSI (F) and p-values (F) of F pairs of bin counts, and whether they are ``known`` (F) and ``tested`` (F). ``tests``: from
    which the p-values follow."""

    known: NDArray[np.bool_]
    psi: NDArray[np.float64]
    tested: NDArray[np.bool_]
    p_values: NDArray[np.float64]
    tests: ChiSquares

    def members(self) -> list[dict[str, float]]:
        """``drift.binned_drift`` without the Jensen-Shannon distance for each pair."""
        columns = zip(*(of.tolist() for of in (self.known, self.psi, self.tested, self.p_values)), strict=True)
        return [
            ({"psi": psi} if known else {}) | ({"p_value": p_value} if tested else {})
            for known, psi, tested, p_value in columns
        ]


def binned_drifts(current: NDArray[np.int64], before: NDArray[np.int64]) -> BinnedDrifts:
    """Drift of F pairs of bin counts (F, B)."""
    n, m = current.sum(axis=1), before.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        q, p = np.maximum(current / n[:, None], FLOOR), np.maximum(before / m[:, None], FLOOR)
        psi = ((q - p) * np.log(q / p)).sum(axis=1)
    tests = chi_squares(current, before)
    p_values = chdtrc(np.maximum(tests.freedoms, 1), tests.statistics)
    return BinnedDrifts((n > 0) & (m > 0), psi, (np.minimum(n, m) >= MIN_TESTED) & (tests.freedoms > 0), p_values, tests)


def jensen_shannons(current: NDArray[np.int64], before: NDArray[np.int64]) -> NDArray[np.float64]:
    """Jensen-Shannon distances (F) of F pairs of bin counts (F, B); NaN where one of a pair is empty."""
    with np.errstate(divide="ignore", invalid="ignore"):
        q, p = (of / of.sum(axis=1)[:, None] for of in (current, before))
        middle = (p + q) / 2
        return np.asarray(np.sqrt(np.maximum((rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / 2, 0.0)))


class ChiSquares(NamedTuple):
    """Chi-square statistics (F) and their degrees of freedom (F), both 0 if there is no test."""

    statistics: NDArray[np.float64]
    freedoms: NDArray[np.int64]


def chi_squares(current: NDArray[np.int64], before: NDArray[np.int64]) -> ChiSquares:
    """``distance.chi_square`` of each of F pairs of bin counts (F, B)."""
    n, m = current.sum(axis=1).astype(np.float64), before.sum(axis=1).astype(np.float64)
    known = (n > 0) & (m > 0)
    n, m = np.where(known, n, 1.0), np.where(known, m, 1.0)
    both = current + before
    expected = both * (np.minimum(n, m) / (n + m))[:, None]
    order = np.argsort(np.where(both > 0, expected, np.inf), axis=1, kind="stable")
    x, y, size = (np.take_along_axis(of, order, axis=1).astype(np.float64) for of in (current, before, expected))
    live = np.take_along_axis(both, order, axis=1) > 0
    small = live & (size < MIN_EXPECTED)
    rows = np.arange(len(x))
    # Small bins are pooled from the smallest on. A full pool takes the place of its last bin; its other bins become empty.
    a, b, pooled = np.zeros(len(x)), np.zeros(len(x)), np.zeros(len(x))
    cells = live & ~small
    last = np.full(len(x), -1)
    for place in range(x.shape[1]):
        here = small[:, place]
        if not here.any():
            break
        a, b, pooled = a + here * x[:, place], b + here * y[:, place], pooled + here * size[:, place]
        full = here & (pooled >= MIN_EXPECTED)
        x[full, place], y[full, place] = a[full], b[full]
        cells[:, place] |= full
        last[full] = place
        a, b, pooled = (np.where(full, 0.0, of) for of in (a, b, pooled))
    found = cells.sum(axis=1)
    # The remaining small bins are added to the smallest of the others, or to the last pool.
    few = small.sum(axis=1)
    target = np.where(few < live.sum(axis=1), np.minimum(few, x.shape[1] - 1), last)
    rest = found > 0
    x[rows[rest], target[rest]] += a[rest]
    y[rows[rest], target[rest]] += b[rest]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = (x * np.sqrt(m / n)[:, None] - y * np.sqrt(n / m)[:, None]) ** 2 / (x + y)
    freedoms = np.where(known & (found >= 2), found - 1, 0)
    return ChiSquares(np.where(freedoms > 0, np.where(cells, terms, 0.0).sum(axis=1), 0.0), freedoms)
