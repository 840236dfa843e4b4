"""Measures how much more a baseline's windows differ from each other than they would with independent rows, for tests to allow
for.

Every directed difference is a standard score, whose variance is 1 if rows are independent. Its mean square over the baseline's
windows is its dispersion. For a single feature it is known only within about a quarter from 30 windows. For all features
together it is known far better, so each feature's dispersion is moderated by that of all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, digamma, ndtr, polygamma

from tidegauge.baseline.blocks import MIN_POOLED, BlockDispersions
from tidegauge.baseline.scored import PERFORMANCE, RATIO, Dispersion, ScoreDispersions, Squares, pooled
from tidegauge.baseline.spread import Spread

DEPENDENT_LEVEL = 0.02
"""Rows count as dependent if their dispersion is significant at this level."""
MIN_FREEDOM = 100
"""The fewest degrees of freedom with which the rows of a baseline can count as independent."""
BOUNDED = frozenset(("accuracy", "precision", "recall", "f1", "roc_auc", "brier"))
"""Performance metrics whose scores are normal even in the far tail if rows are independent; others depend on few large
errors."""
MIN_EFFECTIVE = 100
"""Of a reference that weighs as fewer independent rows, only the direction that varies most can be trusted: the others' scores
are those of its bins, which have moved as far as its rows went together."""
INDEPENDENT = Dispersion(1.0, math.inf)
"""The dispersion of a score if rows are independent."""
ORTHOGONAL = ("location", "scale", "skewness", "peakedness", "missing")
"""Directions whose scores are uncorrelated, so that their squares can be added."""


class Dispersions:
    """What one baseline's ``spreads`` (metric path → Spread, over its windows of one length) say of the scores in them.

    ``independent``: they are those of independent rows; ``outcomes_independent``: those of performance too. ``rows``:
    predictions of a usual window. ``single``: what is known of single windows, where these are of several at a time: rows
    that are dependent there are so here. ``blocks``: what blocks of the reference's rows say, where windows are few.
    """

    __slots__ = ("_excess", "_factors", "_ratios", "_widest", "independent", "outcomes_independent", "rows")

    def __init__(
        self, spreads: Mapping[str, Spread], single: Dispersions | None = None, blocks: BlockDispersions | None = None
    ) -> None:
        own = ScoreDispersions(spreads)
        self.rows = spreads["predictions"].mean if "predictions" in spreads else math.inf
        held = [own] if blocks is None else [own, blocks.plain]
        self.independent: bool = _independent(held) and (single is None or single.independent)
        steady = all(_steady(of.performance) for of in held) and (single is None or single.outcomes_independent)
        self.outcomes_independent: bool = self.independent and steady
        self._excess: dict[str, float] = {}
        if blocks is not None:
            self._excess = {name: _excess(name, own, blocks) for name in ("", RATIO, *blocks.plain.squares)}
            if single is not None:
                self._excess = {name: max(of, single._excess.get(name, 1.0)) for name, of in self._excess.items()}
        self._ratios = dict(own.ratios)
        self._factors = dict(own.performance)
        for name in {*own.squares, *(() if blocks is None else blocks.plain.squares)}:
            squares = own.squares.get(name, {})
            if blocks is not None:
                squares = self._together(name, squares, blocks.plain.squares.get(name, {}), blocks)
            moderated = moderate(*np.array(list(squares.values())).T)
            for path, square, freedom in zip(squares, moderated.squares, moderated.freedoms, strict=True):
                known = freedom if blocks is None else blocks.freedom(name, freedom)
                self._factors[path] = Dispersion(float(square), float(known))
        if blocks is not None:
            of_performance = self._together("", own.performance, blocks.plain.performance, blocks)
            self._factors |= {path: of._replace(freedom=blocks.freedom("", of.freedom)) for path, of in of_performance.items()}
            growth = blocks.growth("") * self._excess[RATIO]
            self._ratios |= {
                path: Spread(of.mean * growth, of.deviation * growth, of.windows) for path, of in blocks.plain.ratios.items()
            }
        self._widest: dict[str, Dispersion] = {}
        for path, of in self._factors.items():
            head = path.rpartition(".")[0]
            self._widest[head] = max(self._widest.get(head, of), of)
        if blocks is not None:
            self._factors |= {path: self._sparing(path, of, blocks.rows) for path, of in self._factors.items()}

    def _together(self, name: str, windows: Squares, blocks: Squares, said: BlockDispersions) -> Squares:
        """Mean squares of one direction: those of blocks, with what windows differ by besides, and of windows as they are."""
        squares = {path: said.dispersion(name, path) for path in blocks}
        squares = {path: Dispersion(of.variance * self._excess[name], of.freedom) for path, of in squares.items()}
        return squares | {path: pooled([of, squares[path]]) if path in squares else of for path, of in windows.items()}

    def _sparing(self, path: str, known: Dispersion, rows: int) -> Dispersion:
        """What is ``known`` of a score, made more cautious where the reference's ``rows`` are worth few independent ones: then
        its own distribution is uncertain."""
        head, _, name = path.rpartition(".")
        if name == "missing" or head == PERFORMANCE:
            return known
        variance, freedom = self._widest[head]
        effective = rows / max(variance, 1.0)
        if effective < MIN_EFFECTIVE:
            known = Dispersion(variance, min(freedom, known.freedom))
        return known._replace(freedom=min(known.freedom, max(effective - 1.0, 1.0)))

    def factor(self, path: str, rows: int) -> Dispersion:
        """Of the score at ``path`` in a window of ``rows`` predictions, at least 1.

        What makes windows differ does not average out in a larger one: there the excess grows with the rows. A direction of
        which too few values were seen to score it is taken for the one of its number that varies most.
        """
        head, _, name = path.rpartition(".")
        of_performance = head == PERFORMANCE
        known = self.outcomes_independent and name in BOUNDED if of_performance else self.independent
        held = self._factors.get(path, None if of_performance else self._widest.get(head))
        if known or held is None:
            return INDEPENDENT
        return held._replace(variance=1.0 + max(held.variance - 1.0, 0.0) * max(rows / self.rows, 1.0))

    def ratio(self, path: str) -> Spread | None:
        """The spread of the chi-square ratio at ``path``; None where rows are independent, or nothing is known of it."""
        return None if self.independent else self._ratios.get(path)


def _excess(name: str, windows: ScoreDispersions, blocks: BlockDispersions) -> float:
    """How much more windows differ than the dependence between their rows explains, all numbers together, as with a season. At
    least 1."""
    if name == RATIO:
        both = [path for path in windows.ratios if path in blocks.plain.ratios]
        expected = sum(blocks.plain.ratios[path].mean for path in both) * blocks.growth("")
        return max(sum(windows.ratios[path].mean for path in both) / expected, 1.0) if both else 1.0
    own, plain = (of.squares.get(name, {}) if name else of.performance for of in (windows, blocks.plain))
    both = [path for path in own if path in plain]
    expected = pooled(blocks.dispersion(name, path) for path in both).variance
    return max(pooled(own[path] for path in both).variance / expected, 1.0) if expected else 1.0


def _independent(held: Sequence[ScoreDispersions]) -> bool:
    """Whether rows are independent: in none of ``held`` is a dispersion significantly above 1, neither a single one, nor those
    of a direction together, nor all together; and one of ``held`` rests on MIN_FREEDOM degrees of freedom or more."""
    said = [_least(of) for of in held if of.squares]
    return max((freedom for _, freedom in said), default=0.0) >= MIN_FREEDOM and all(p > DEPENDENT_LEVEL for p, _ in said)


def _least(scored: ScoreDispersions) -> tuple[float, float]:
    """The smallest p-value of the dispersions against 1, times their number (Bonferroni), and the degrees of freedom of all
    together."""
    own = {name: pooled(of.values()) for name, of in scored.squares.items()}
    total, freedom = pooled(of for name, of in own.items() if name in ORTHOGONAL)
    single = [float(chdtrc(of, square * of)) for held in scored.squares.values() for square, of in held.values()]
    single += [
        float(ndtr((1.0 - mean) / deviation * math.sqrt(windows))) for mean, deviation, windows in scored.ratios.values()
    ]
    directions = [float(chdtrc(of, square * of)) for square, of in own.values()]
    together = float(chdtrc(freedom, total * freedom)) if freedom else 1.0
    return min(together, min(directions) * len(directions), min(single) * len(single)), freedom


def _steady(performance: Squares) -> bool:
    least = min((float(chdtrc(of, square * of)) for square, of in performance.values()), default=1.0)
    return least * len(performance) > DEPENDENT_LEVEL if performance else True


class ModeratedSquares(NamedTuple):
    """Mean squares (F) shrunk towards each other, and the degrees of freedom (F) they then have."""

    squares: NDArray[np.float64]
    freedoms: NDArray[np.float64]


def moderate(squares: NDArray[np.float64], freedoms: NDArray[np.float64]) -> ModeratedSquares:
    """Shrink mean squares (F), which have ``freedoms`` (F) degrees of freedom each, towards what they have in common. This is
    empirical Bayes with a scaled inverse chi-square prior (Smyth 2004). Fewer than MIN_POOLED are returned as they are.

    >>> squares, freedoms = moderate(np.array([1.0, 2.0, 1.5, 1.5, 1.5]), np.full(5, 10.0))
    >>> squares.round(2).tolist(), freedoms.round(1).tolist()
    ([1.5, 1.5, 1.5, 1.5, 1.5], [50.0, 50.0, 50.0, 50.0, 50.0])
    """
    if len(squares) < MIN_POOLED:
        return ModeratedSquares(squares, freedoms)
    half = freedoms / 2
    logs = np.log(squares) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    together = float(freedoms.sum())
    if excess <= 0:
        pooled_square = float(squares @ freedoms) / together
        return ModeratedSquares(np.full(len(squares), pooled_square), np.full(len(squares), together))
    prior = 2 * _trigamma_inverse(excess)
    common = math.exp(logs.mean() + digamma(prior / 2) - math.log(prior / 2))
    shrunk = (prior * common + freedoms * squares) / (prior + freedoms)
    return ModeratedSquares(shrunk, np.minimum(prior + freedoms, together))


def _trigamma_inverse(value: float) -> float:
    """The inverse of the trigamma function, by Newton's method on its reciprocal, which is nearly linear."""
    x = 0.5 + 1 / value
    for _ in range(50):
        found = float(polygamma(1, x))
        step = found * (1 - found / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
