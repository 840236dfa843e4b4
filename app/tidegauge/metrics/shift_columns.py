"""The shifts of many numeric features at once: the same as ``shift.number_shift``, for the rows of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammainc, gammaincc, ndtr, ndtri, stdtr

from tidegauge.baseline.contrasts import COMPONENTS, Contrasts
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.baseline.scored import SCORES
from tidegauge.metrics.distance import FLOOR, MIN_TESTED
from tidegauge.metrics.shift import CLUSTERED, TINY, WEIGHTS
from tidegauge.profile.schema import MISSING

DIRECTIONS = (*COMPONENTS, "upper_tail", "lower_tail")
_WEIGHTS = np.array([WEIGHTS[name] for name in DIRECTIONS])
Floats = NDArray[np.float64]


class ContrastColumns:
    """The contrasts of F features, padded with empty bins: ``scores`` (F, 4, B), ``shares`` (F, B), ``skews`` (F, 4),
    ``totals`` (F), ``tails`` (F, 2, B), and ``beyond`` (F, 2), the number of reference values in the tails."""

    __slots__ = ("beyond", "scores", "shares", "skews", "tails", "totals")

    def __init__(self, contrasts: Sequence[Contrasts]) -> None:
        count, width = len(contrasts), max(len(of.shares) for of in contrasts)
        self.scores, self.shares = np.zeros((count, len(COMPONENTS), width)), np.zeros((count, width))
        self.tails, self.beyond = np.zeros((count, 2, width)), np.zeros((count, 2))
        self.skews = np.array([of.skews for of in contrasts])
        self.totals = np.array([float(of.total) for of in contrasts])
        for row, of in enumerate(contrasts):
            held = len(of.shares)
            self.scores[row, :, :held], self.shares[row, :held] = of.scores, of.shares
            for side, (bins, before) in enumerate(of.tails):
                self.tails[row, side, :held], self.beyond[row, side] = bins, before

    @classmethod
    def joined(cls, columns: Sequence[ContrastColumns]) -> ContrastColumns:
        """Those of several baselines with the same bins, one after the other."""
        found = cls.__new__(cls)
        for member in cls.__slots__:
            setattr(found, member, np.concatenate([getattr(of, member) for of in columns]))
        return found


class Factors(NamedTuple):
    """The variance of the windows of a baseline relative to chance, and its degrees of freedom (F, 6)."""

    variance: Floats
    freedom: Floats

    @classmethod
    def joined(cls, factors: Sequence[Factors]) -> Factors:
        """Those of several windows, one after the other."""
        return cls(*(np.concatenate(of) for of in zip(*factors, strict=True)))


class Shifts(NamedTuple):
    """The shifts of F features: standardised differences ``effects`` (F, 6) and standard scores (F, 6) in each of DIRECTIONS,
    whether a score is ``said`` (F, 6), the place of the ``largest`` effect (F), and the combined p-values (F); whether they are
    ``known`` (F) and ``tested`` (F)."""

    known: NDArray[np.bool_]
    effects: Floats
    scores: Floats
    said: NDArray[np.bool_]
    largest: NDArray[np.intp]
    tested: NDArray[np.bool_]
    p_values: Floats

    @property
    def sizes(self) -> Floats:
        """The largest effects (F)."""
        return np.asarray(np.abs(self.effects[np.arange(len(self.largest)), self.largest]))


def shifts(counts: NDArray[np.int64], columns: ContrastColumns, factors: Factors) -> Shifts:
    """What ``shift.number_shift`` says of F features, given their ``counts`` (F, B)."""
    values = counts.astype(np.float64)
    values[:, MISSING] = 0.0
    n, total = values.sum(axis=1), columns.totals
    known = (n > 0) & (total > 0)
    n, total = np.where(known, n, 1.0)[:, None], np.where(known, total, 1.0)[:, None]
    error = np.sqrt(1 / n + 1 / total)
    moved = np.einsum("fcb,fb->fc", columns.scores, values / n - columns.shares)
    count = np.einsum("fsb,fb->fs", columns.tails, values)
    share = np.clip(columns.beyond / total, FLOOR, 1 - FLOOR)
    spread = np.sqrt(share * (1 - share))
    z = np.concatenate((moved / error, (count / n - columns.beyond / total) / (spread * error)), axis=1)
    skewness = np.concatenate((columns.skews * error, (1 - 2 * share) / spread * error), axis=1)
    alone = np.concatenate(
        (normal_scores(z[:, :4], skewness[:, :4]), count_scores(count, n, columns.beyond, total)), axis=1
    )  # fmt: skip
    p_values = _p_values(alone, z, skewness, *factors)
    effects = np.concatenate((moved, z[:, 4:] * error), axis=1)
    together = np.minimum(1 / (_WEIGHTS / np.maximum(p_values, TINY)).sum(axis=1), 1.0)
    said = np.concatenate((np.ones_like(moved, bool), columns.beyond * n >= total), axis=1)
    tested = known & (np.minimum(n, total)[:, 0] >= MIN_TESTED)
    return Shifts(known, effects, z, said, np.abs(effects).argmax(axis=1), tested, together)


def number_shifts(counts: NDArray[np.int64], columns: ContrastColumns, factors: Factors) -> list[dict[str, Any]]:
    """``shift.number_shift`` for F features, given their ``counts`` (F, B)."""
    of = shifts(counts, columns, factors)
    found: list[dict[str, Any]] = []
    rows_of = zip(
        of.known, of.sizes.tolist(), of.scores.tolist(), of.said.tolist(), of.largest.tolist(), of.tested, of.p_values.tolist(),
        strict=True,
    )  # fmt: skip
    for known, size, scores, said, place, tested, p_value in rows_of:
        if not known:
            found.append({})
            continue
        scored = {name: score for name, score, is_said in zip(DIRECTIONS, scores, said, strict=True) if is_said}
        numbers = {"shift": size, "shift_in": DIRECTIONS[place], SCORES: scored}
        found.append(numbers | ({"shift_p_value": p_value} if tested else {}))
    return found


def factors_of(paths: Sequence[str], dispersions: Dispersions | None, rows: int) -> Factors:
    """How much windows of so many ``rows`` vary in F features with these ``paths`` in a record."""
    if dispersions is None or dispersions.independent:
        return Factors(np.ones((len(paths), len(DIRECTIONS))), np.full((len(paths), len(DIRECTIONS)), math.inf))
    found = [[dispersions.factor(f"{path}.{SCORES}.{name}", rows) for name in DIRECTIONS] for path in paths]
    return Factors(*np.array(found, np.float64).transpose(2, 0, 1))


def _p_values(alone: Floats, z: Floats, skewness: Floats, variance: Floats, freedom: Floats) -> Floats:
    p_values = ndtr(-np.abs(alone))
    wide = (variance > 1) | (freedom < math.inf)
    if wide.any():
        root = np.sqrt(variance)
        scores = normal_scores(z / root, CLUSTERED * skewness * root)
        p_values = np.where(wide, np.maximum(p_values, stdtr(freedom, -np.abs(scores))), p_values)
    return np.asarray(np.minimum(2 * p_values, 1.0))


def normal_scores(z: Floats, skewness: Floats) -> Floats:
    """``shift.normal_score`` for arrays."""
    skewed = np.abs(skewness) >= 1e-3
    shape = 4 / np.where(skewed, skewness, 1.0) ** 2
    sign = np.copysign(1.0, skewness)
    place = np.maximum(shape + sign * z * np.sqrt(shape), 0.0)
    above, below = (np.maximum(of(shape, place), TINY) for of in (gammaincc, gammainc))
    return np.asarray(np.where(skewed, sign * np.where(above < 0.5, -ndtri(above), ndtri(below)), z))


def count_scores(count: Floats, n: Floats, before: Floats, total: Floats) -> Floats:
    """``shift.count_score`` for arrays."""
    scale = 1 / np.maximum(1 - (count + before) / (n + total), FLOOR)
    here, there, chance = count * scale, before * scale, n / (n + total)
    reached = np.where(here > 0, betainc(np.where(here > 0, here, 1.0), there + 1, chance), 1.0)
    beyond = np.where(there > 0, betainc(here + 1, np.where(there > 0, there, 1.0), chance), 0.0)
    above = (reached + beyond) / 2
    scores = np.where(above < 0.5, -ndtri(np.maximum(above, TINY)), ndtri(np.maximum(1 - above, TINY)))
    return np.asarray(np.where(count + before > 0, scores, 0.0))
