"""Standard scores of a baseline's windows, or of blocks of its rows, and how much they vary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tidegauge.baseline.spread import Spread

SCORES = "shift_z"
"""The member of a record that holds standard scores, by direction."""
RATIO = "chi_square_ratio"
"""The member that holds a chi-square over its degrees of freedom: 1 on average where rows are independent."""
PERFORMANCE = "performance_z"
"""The member that holds standard scores of performance."""


class Dispersion(NamedTuple):
    """How much a standard score varies, 1 where rows are independent: its mean square, and the degrees of freedom of that."""

    variance: float
    freedom: float


Squares = dict[str, Dispersion]
"""By the metric path of the score."""


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
            # Scores that are always nought are those of a number that never varies.
            if head.endswith(SCORES) and spread.deviation > 0:
                self.squares.setdefault(name, {})[path] = dispersion(spread)
            elif head == PERFORMANCE:
                self.performance[path] = dispersion(spread)
            elif name == RATIO and spread.deviation > 0:
                self.ratios[path] = spread


def is_scored(path: str) -> bool:
    """Whether dispersions are made of the spread at a metric path."""
    head, _, name = path.rpartition(".")
    return head.endswith(SCORES) or head == PERFORMANCE or name in (RATIO, "predictions")


def dispersion(spread: Spread) -> Dispersion:
    """About nought, which is what the scores of windows that make up the reference vary around.

    >>> dispersion(Spread(0.0, 2.0, 4))
    Dispersion(variance=3.0, freedom=3.0)
    """
    mean, deviation, windows = spread
    return Dispersion(mean**2 + deviation**2 * (windows - 1) / windows, windows - 1.0)


def pooled(squares: Iterable[Dispersion]) -> Dispersion:
    """What several say together; nought of none.

    >>> pooled([Dispersion(1.0, 10.0), Dispersion(4.0, 20.0)])
    Dispersion(variance=3.0, freedom=30.0)
    """
    held = list(squares)
    freedom = sum(of.freedom for of in held)
    return Dispersion(sum(of.variance * of.freedom for of in held) / freedom if freedom else 0.0, freedom)
