"""The contrasts with which a window's bin counts of a feature are tested, for each direction."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tidegauge.profile.schema import BELOW, FIRST, MISSING, Bins

COMPONENTS = ("location", "scale", "skewness", "peakedness")
MAX_TAIL = 0.05
"""If, because of ties, more than this share of the reference is at or above the 99th percentile, only values above it are the
tail."""
_NONE = 1e-9


class Contrasts:
    """What to compare windows with: from a reference's ``counts`` (B) in ``bins``.

    ``scores`` (4, B): what a value in each bin adds to each of COMPONENTS, with mean 0 and variance 1 over the
    reference, uncorrelated; all 0 where ties leave nothing of it. ``skews`` (4): third moments. ``tails``: for the upper and
    the lower one its bins (B, boolean) and how many reference values lie there, of ``total``.
    """

    __slots__ = ("scores", "shares", "skews", "tails", "total")

    def __init__(self, counts: NDArray[np.int64], bins: Bins) -> None:
        values = counts.copy()
        values[MISSING] = 0
        self.total = int(values.sum())
        upper = bins.upper if values[bins.upper].sum() <= MAX_TAIL * self.total else bins.over
        self.tails = tuple((beyond, int(values[beyond].sum())) for beyond in (upper, bins.lower))
        self.shares = _within(values) / self.total
        self.scores = _components(self.shares)
        self.scores[:, BELOW], self.scores[:, -1] = self.scores[:, FIRST], self.scores[:, -2]
        self.skews = (self.scores**3) @ self.shares


def _within(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts with values outside of the range added to the outermost bins."""
    held = values.copy()
    held[FIRST] += held[BELOW]
    held[-2] += held[-1]
    held[[BELOW, -1]] = 0
    return held


def _components(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (4, B) of bins with these shares (B): normal scores, their squares, and the third and fourth power of ranks,
    each made uncorrelated with those before it."""
    upper = np.minimum(np.cumsum(shares), 1.0)
    lower = np.concatenate(([0.0], upper[:-1]))
    held = np.maximum(shares, _NONE)
    cuts = [ndtri(np.clip(of, _NONE, 1 - _NONE)) for of in (lower, upper)]
    density = [np.exp(-(of**2) / 2) / math.sqrt(2 * math.pi) for of in cuts]
    normal = (density[0] - density[1]) / held
    square = 1 + (cuts[0] * density[0] - cuts[1] * density[1]) / held
    # A bin without reference values has no width in rank.
    empty = shares <= _NONE
    normal[empty], square[empty] = cuts[1][empty], cuts[1][empty] ** 2
    rank = lower + upper - 1
    basis = [np.ones(len(shares))]
    scores = np.zeros((len(COMPONENTS), len(shares)))
    for place, direction in enumerate((normal, square, rank**3, rank**4)):
        rest = direction.copy()
        # This is done twice, because of rounding errors.
        for known in (*basis, *basis):
            rest -= known * float(shares @ (rest * known))
        variance = float(shares @ rest**2)
        if variance > 1e-6:
            scores[place] = rest / math.sqrt(variance)
            basis.append(scores[place])
    return scores
