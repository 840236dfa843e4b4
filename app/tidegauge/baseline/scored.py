"""Standard scores of a baseline's windows, or of blocks of its rows, and how much they vary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidegauge.baseline.spread import Spread

SCORES = "shift_z"
"""The member of a record that holds standard scores, by direction."""
RATIO = "chi_square_ratio"
"""The member that holds a chi-square over its degrees of freedom: 1 on average where rows are independent."""
PERFORMANCE = "performance_z"
"""The member that holds standard scores of performance."""
Squares = dict[str, tuple[float, float]]
"""Metric path of a score → its mean square and the degrees of freedom of that."""


class Scored:
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
                self.squares.setdefault(name, {})[path] = mean_square(spread), spread.windows - 1.0
            elif head == PERFORMANCE:
                self.performance[path] = mean_square(spread), spread.windows - 1.0
            elif name == RATIO and spread.deviation > 0:
                self.ratios[path] = spread


def is_scored(path: str) -> bool:
    """Whether dispersions are made of the spread at a metric path."""
    head, _, name = path.rpartition(".")
    return head.endswith(SCORES) or head == PERFORMANCE or name in (RATIO, "predictions")


def mean_square(spread: Spread) -> float:
    """About nought, which is what the scores of windows that make up the reference vary around.

    >>> mean_square((0.0, 2.0, 4))
    3.0
    """
    mean, deviation, windows = spread
    return mean**2 + deviation**2 * (windows - 1) / windows


def pooled(squares: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """One mean square of several, and its degrees of freedom; nought of none.

    >>> pooled([(1.0, 10.0), (4.0, 20.0)])
    (3.0, 30.0)
    """
    held = list(squares)
    freedom = sum(of for _, of in held)
    return (sum(square * of for square, of in held) / freedom if freedom else 0.0), freedom
