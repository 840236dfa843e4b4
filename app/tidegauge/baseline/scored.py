"""The standard scores of a baseline's windows, or of blocks of its rows, and their dispersion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tidegauge.baseline.spread import Spread

SCORES = "shift_z"
"""The member of a record that holds standard scores, by direction."""
RATIO = "chi_square_ratio"
"""The member that holds a chi-square divided by its degrees of freedom, which is 1 on average if rows are independent."""
PERFORMANCE = "performance_z"
"""The member that holds standard scores of performance."""


class Dispersion(NamedTuple):
    """The mean square of a standard score, which is 1 if rows are independent, and its degrees of freedom."""

    variance: float
    freedom: float


Squares = dict[str, Dispersion]
"""Dispersions by the metric path of the score."""


class ScoreDispersions:
    """The scores among ``spreads``: ``squares`` direction → path → mean square, of ``performance`` the same by path, and the
    spreads of the chi-square ``ratios`` by path."""

    __slots__ = ("performance", "ratios", "squares")

    def __init__(self, spreads: Mapping[str, Spread]) -> None:
        self.squares: dict[str, Squares] = {}
        self.performance: Squares = {}
        self.ratios: dict[str, Spread] = {}
        for path, spread in spreads.items():
            head, _, name = path.rpartition(".")
            # Scores that are always 0 belong to a number that never varies.
            if head.endswith(SCORES) and spread.deviation > 0:
                self.squares.setdefault(name, {})[path] = dispersion(spread)
            elif head == PERFORMANCE:
                self.performance[path] = dispersion(spread)
            elif name == RATIO and spread.deviation > 0:
                self.ratios[path] = spread


def is_scored(path: str) -> bool:
    """Whether the spread at a metric path is used for dispersions."""
    head, _, name = path.rpartition(".")
    return head.endswith(SCORES) or head == PERFORMANCE or name in (RATIO, "predictions")


def dispersion(spread: Spread) -> Dispersion:
    """The dispersion about 0, the mean of the scores of windows that make up the reference.

    >>> dispersion(Spread(0.0, 2.0, 4))
    Dispersion(variance=3.0, freedom=3.0)
    """
    mean, deviation, windows = spread
    return Dispersion(mean**2 + deviation**2 * (windows - 1) / windows, windows - 1.0)


def pooled(squares: Iterable[Dispersion]) -> Dispersion:
    """Several dispersions pooled; 0 with no degrees of freedom if there are none.

    >>> pooled([Dispersion(1.0, 10.0), Dispersion(4.0, 20.0)])
    Dispersion(variance=3.0, freedom=30.0)
    """
    held = list(squares)
    freedom = sum(of.freedom for of in held)
    return Dispersion(sum(of.variance * of.freedom for of in held) / freedom if freedom else 0.0, freedom)
