"""The contrasts with which a window's bin counts of a feature are tested, for each direction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

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
        self._fill(counts, bins)
        self._score(*(of[0] for of in _scores(self.shares[None])))

    @classmethod
    def of_many(cls, counts: Sequence[NDArray[np.int64]], bins: Sequence[Bins]) -> list[Contrasts]:
        """Those of many features, much faster than one by one."""
        found = [cls.__new__(cls) for _ in counts]
        alike: dict[int, list[Contrasts]] = {}
        for of, own, places in zip(found, counts, bins, strict=True):
            of._fill(own, places)
            alike.setdefault(len(own), []).append(of)
        for group in alike.values():
            scored = _scores(np.array([of.shares for of in group]))
            for of, scores, skews in zip(group, *scored, strict=True):
                of._score(scores, skews)
        return found

    def _fill(self, counts: NDArray[np.int64], bins: Bins) -> None:
        values = counts.copy()
        values[MISSING] = 0
        self.total = int(values.sum())
        upper = bins.upper if values[bins.upper].sum() <= MAX_TAIL * self.total else bins.over
        self.tails = tuple((beyond, int(values[beyond].sum())) for beyond in (upper, bins.lower))
        self.shares = _within(values) / self.total

    def _score(self, scores: NDArray[np.float64], skews: NDArray[np.float64]) -> None:
        self.scores, self.skews = scores, skews


def _within(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts with values outside of the range added to the outermost bins."""
    held = values.copy()
    held[FIRST] += held[BELOW]
    held[-2] += held[-1]
    held[[BELOW, -1]] = 0
    return held


class _Scores(NamedTuple):
    """The ``scores`` (F, 4, B) of F features and their ``skews`` (F, 4), as in Contrasts."""

    scores: NDArray[np.float64]
    skews: NDArray[np.float64]


def _scores(shares: NDArray[np.float64]) -> _Scores:
    """Scores of bins with these shares (F, B)."""
    scores = _components(shares)
    scores[:, :, BELOW], scores[:, :, -1] = scores[:, :, FIRST], scores[:, :, -2]
    return _Scores(scores, (scores**3 * shares[:, None]).sum(axis=2))


def _components(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (F, 4, B) of bins with these shares (F, B): normal scores, their squares, and the third and fourth power of ranks,
    each made uncorrelated with those before it."""
    upper = np.minimum(np.cumsum(shares, axis=1), 1.0)
    lower = np.concatenate((np.zeros((len(shares), 1)), upper[:, :-1]), axis=1)
    held = np.maximum(shares, _NONE)
    cuts = [ndtri(np.clip(of, _NONE, 1 - _NONE)) for of in (lower, upper)]
    density = [np.exp(-(of**2) / 2) / math.sqrt(2 * math.pi) for of in cuts]
    normal = (density[0] - density[1]) / held
    square = 1 + (cuts[0] * density[0] - cuts[1] * density[1]) / held
    # A bin without reference values has no width in rank.
    empty = shares <= _NONE
    normal[empty], square[empty] = cuts[1][empty], cuts[1][empty] ** 2
    rank = lower + upper - 1
    basis = [np.ones(shares.shape)]
    scores = np.zeros((len(shares), len(COMPONENTS), shares.shape[1]))
    for place, direction in enumerate((normal, square, rank**3, rank**4)):
        rest = direction.copy()
        # This is done twice, because of rounding errors.
        for known in (*basis, *basis):
            rest -= known * (shares * rest * known).sum(axis=1, keepdims=True)
        variance = (shares * rest**2).sum(axis=1, keepdims=True)
        scores[:, place] = np.where(variance > 1e-6, rest / np.sqrt(np.maximum(variance, 1e-6)), 0.0)
        basis.append(scores[:, place])
    return scores
