"""How much more a baseline's windows differ from each other than independent rows would: what a test must allow for.

Every directed difference comes as a standard score, whose variance is 1 where rows are independent. Its mean square over the
baseline's windows is its dispersion. One feature's is known from its windows only, to a quarter with 30 of them; all
features' together are known far better, and each is moderated by what they say together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, digamma, ndtr, polygamma

from tidegauge.baseline.spread import Spread

SCORES = "shift_z"
"""The member of a record that holds standard scores, by direction."""
RATIO = "chi_square_ratio"
"""The member that holds a chi-square over its degrees of freedom: 1 on average where rows are independent."""
DEPENDENT_LEVEL = 0.02
"""Rows are taken as dependent where their dispersion is significant at this level."""
MIN_FREEDOM = 100
"""Degrees of freedom without which no baseline is said to have independent rows."""
MIN_POOLED = 5
"""Of fewer numbers than this it cannot be said what they have in common."""
PERFORMANCE = "performance_z"
"""The member that holds standard scores of performance."""
BOUNDED = frozenset(("accuracy", "precision", "recall", "f1", "roc_auc", "brier"))
"""Performance whose scores are normal in the far tail where rows are independent; a few errors decide the others."""
ORTHOGONAL = ("location", "scale", "skewness", "peakedness", "missing")
"""Directions whose scores are uncorrelated, so that their squares can be added."""


class Dispersions:
    """What one baseline's ``spreads`` (metric path → Spread, over its windows of one length) say of the scores in them.

    ``independent``: they are those of independent rows; ``outcomes_independent``: those of performance too. ``rows``:
    predictions of a usual window. ``single``: what is known of single windows, where these are of several at a time: rows
    that are dependent there are so here.
    """

    __slots__ = ("_factors", "_ratios", "independent", "outcomes_independent", "rows")

    def __init__(self, spreads: Mapping[str, Spread], single: Dispersions | None = None) -> None:
        scores: dict[str, dict[str, Spread]] = {}
        performance: dict[str, Spread] = {}
        self._ratios: dict[str, Spread] = {}
        for path, spread in spreads.items():
            head, _, name = path.rpartition(".")
            # Scores that are always nought are those of a number that never varies.
            if head.endswith(SCORES) and spread.deviation > 0:
                scores.setdefault(name, {})[path] = spread
            elif head == PERFORMANCE:
                performance[path] = spread
            elif name == RATIO and spread.deviation > 0:
                self._ratios[path] = spread
        self.rows = spreads["predictions"].mean if "predictions" in spreads else math.inf
        squares = {name: np.array([mean_square(of) for of in held.values()]) for name, held in scores.items()}
        freedoms = {name: np.array([float(of[2] - 1) for of in held.values()]) for name, held in scores.items()}
        self.independent: bool = _independent(squares, freedoms, self._ratios) and (single is None or single.independent)
        self._factors = {path: (mean_square(of), float(of[2] - 1)) for path, of in performance.items()}
        least = min((float(chdtrc(of, square * of)) for square, of in self._factors.values()), default=1.0)
        steady = least * len(performance) > DEPENDENT_LEVEL and (single is None or single.outcomes_independent)
        self.outcomes_independent: bool = self.independent and steady
        for name, held in scores.items():
            moderated = zip(*moderate(squares[name], freedoms[name]), strict=True)
            self._factors |= {path: (float(s), float(d)) for path, (s, d) in zip(held, moderated, strict=True)}

    def factor(self, path: str, rows: int) -> tuple[float, float]:
        """Variance of the score at ``path`` in a window of ``rows`` predictions, at least 1, and its degrees of freedom.

        What makes windows differ does not average out in a larger one: there the excess grows with the rows.
        """
        of_performance = path.startswith(PERFORMANCE)
        known = self.outcomes_independent and path.rpartition(".")[2] in BOUNDED if of_performance else self.independent
        if known or path not in self._factors:
            return 1.0, math.inf
        variance, freedom = self._factors[path]
        return 1.0 + max(variance - 1.0, 0.0) * max(rows / self.rows, 1.0), freedom

    def ratio(self, path: str) -> Spread | None:
        """The spread of the chi-square ratio at ``path``; None where rows are independent, or nothing is known of it."""
        return None if self.independent else self._ratios.get(path)


def mean_square(spread: Spread) -> float:
    """About nought, which is what the scores of windows that make up the reference vary around.

    >>> mean_square((0.0, 2.0, 4))
    3.0
    """
    mean, deviation, windows = spread
    return mean**2 + deviation**2 * (windows - 1) / windows


def _independent(
    squares: Mapping[str, NDArray[np.float64]], freedoms: Mapping[str, NDArray[np.float64]], ratios: Mapping[str, Spread]
) -> bool:
    """Whether neither all dispersions together, nor those of a direction, nor any single one is significantly above 1."""
    own = [(float((squares[name] * of).sum()), float(of.sum())) for name, of in freedoms.items()]
    orthogonal = [pair for name, pair in zip(freedoms, own, strict=True) if name in ORTHOGONAL]
    total, freedom = (sum(of) for of in zip(*orthogonal, strict=True)) if orthogonal else (0.0, 0.0)
    if freedom < MIN_FREEDOM:
        return False
    single = [p for name, of in freedoms.items() for p in chdtrc(of, squares[name] * of)]
    single += [float(ndtr((1.0 - mean) / deviation * math.sqrt(windows))) for mean, deviation, windows in ratios.values()]
    directions = [float(chdtrc(of, square)) for square, of in own]
    least = min(float(chdtrc(freedom, total)), min(directions) * len(directions), min(single) * len(single))
    return bool(least > DEPENDENT_LEVEL)


def moderate(squares: NDArray[np.float64], freedoms: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean squares (F) with so many degrees of freedom each, shrunk towards what they have in common, and the degrees of
    freedom that gives them: empirical Bayes by a scaled inverse chi-square (Smyth 2004). Fewer than MIN_POOLED stay as they
    are.

    >>> squares, freedoms = moderate(np.array([1.0, 2.0, 1.5, 1.5, 1.5]), np.full(5, 10.0))
    >>> squares.round(2).tolist(), freedoms.round(1).tolist()
    ([1.5, 1.5, 1.5, 1.5, 1.5], [50.0, 50.0, 50.0, 50.0, 50.0])
    """
    if len(squares) < MIN_POOLED:
        return squares, freedoms
    half = freedoms / 2
    logs = np.log(squares) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean())
    together = float(freedoms.sum())
    if excess <= 0:
        return np.full(len(squares), float(squares @ freedoms) / together), np.full(len(squares), together)
    prior = 2 * _trigamma_inverse(excess)
    common = math.exp(logs.mean() + digamma(prior / 2) - math.log(prior / 2))
    return (prior * common + freedoms * squares) / (prior + freedoms), np.minimum(prior + freedoms, together)


def _trigamma_inverse(value: float) -> float:
    """Where the trigamma function has this value, by Newton's method on its reciprocal, which is nearly straight."""
    x = 0.5 + 1 / value
    for _ in range(50):
        found = float(polygamma(1, x))
        step = found * (1 - found / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x
