"""Estimates from blocks of rows how much windows differ because of dependent rows, if a baseline has too few windows.

The reference rows, ordered by time, are divided into BLOCKS blocks. The mean square of the blocks' standard scores is the
batch-means estimate of the variance of a mean (Law and Carson 1979). If blocks are not much longer than the dependence between
rows, it is too small by an amount that halves for blocks of twice the length. Both lengths are therefore evaluated, and their
difference is added once more (lugsail batch means: Vats and Flegal 2022), for all features together, since for a single feature
it would be too uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping

from tidegauge.baseline.scored import Dispersion, ScoreDispersions, pooled
from tidegauge.baseline.spread import Spread

BLOCKS = 32
"""With this many blocks, 1,000 rows of an AR(1) process with a correlation of 0.9 still show nine tenths of their
dispersion."""
MIN_BLOCK_ROWS = 20
MIN_BLOCKS = 8
MIN_POOLED = 5
"""Dispersions are only pooled over at least this many features."""
EXTRAPOLATED = 3.0
"""The variance that the extrapolation from blocks of two lengths adds to a logarithm, in units of 2 over the degrees of freedom
of the longer ones, all features together: about (2² + 1² / 2 - 2) of them."""


class BlockDispersions:
    """What ``blocks`` (metric path → Spread over BLOCKS blocks), and ``doubled``, the same of blocks twice as long, of a
    reference of so many ``rows`` say of windows of any length.

    ``plain``: scores of the blocks as they are; ``growths``: direction → by how much more windows vary than blocks, "" for
    what has none of its own; ``spent``: degrees of freedom with which these are known."""

    __slots__ = ("growths", "plain", "rows", "spent")

    def __init__(self, blocks: Mapping[str, Spread], doubled: Mapping[str, Spread], rows: int) -> None:
        self.rows, share = rows, blocks["predictions"].mean / rows
        self.plain, longer = ScoreDispersions(blocks), ScoreDispersions(doubled)
        self.growths: dict[str, float] = {}
        self.spent: dict[str, float] = {}
        whole: list[tuple[Dispersion, Dispersion]] = []
        for name, of in self.plain.squares.items():
            pairs = [(of[path], longer.squares[name][path]) for path in of if path in longer.squares.get(name, {})]
            whole += pairs
            if len(pairs) >= MIN_POOLED:
                self.growths[name], self.spent[name] = _growth(pairs, share)
        self.growths[""], self.spent[""] = _growth(whole, share)

    def dispersion(self, name: str, path: str) -> Dispersion:
        """The dispersion of the score at ``path`` in a window."""
        variance, freedom = (self.plain.squares[name] if name else self.plain.performance)[path]
        return Dispersion(variance * self.growth(name), freedom)

    def growth(self, name: str) -> float:
        return self.growths.get(name, self.growths[""])

    def freedom(self, name: str, freedom: float) -> float:
        """The degrees of freedom ``freedom`` of a variance, reduced because of the extrapolation."""
        spent = self.spent.get(name, self.spent[""])
        return 1.0 / (1.0 / freedom + EXTRAPOLATED / spent) if spent else freedom


def _growth(pairs: list[tuple[Dispersion, Dispersion]], share: float) -> tuple[float, float]:
    """How much more a window varies than a block, and the degrees of freedom of the longer blocks that this follows from.

    A block's mean square is v - c (1 / b + 1 / N), of b rows among N, where a window's is v and c is what is cut off at its
    ends: b / N is ``share``.
    """
    short = pooled(one for one, _ in pairs).variance
    long, freedom = pooled(two for _, two in pairs)
    if short <= 0:
        return 1.0, freedom
    return max((long + max(long - short, 0.0) * (1 + 2 * share)) / short, 1.0), freedom
