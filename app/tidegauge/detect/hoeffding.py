"""HDDM: a mean that has risen by more than Hoeffding's (A) or McDiarmid's (W, of weighted means) inequality lets it by chance.

Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota, "Online and non-parametric drift
detection methods based on Hoeffding's bounds" (IEEE TKDE 2015).
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec


class Mean(msgspec.Struct, array_like=True, frozen=True):
    """Mean of ``count`` values."""

    count: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    mean: float = 0.0


class MeansState(msgspec.Struct, array_like=True):
    """The mean of all; and as it was at the time when it was surely lowest, and surely highest."""

    all: Mean = Mean()
    low: Mean = Mean()
    high: Mean = Mean()

    def __post_init__(self) -> None:
        if not max(self.low.count, self.high.count) <= self.all.count:
            raise ValueError("a part has more values than all")


class HddmA:
    """``drift_confidence``: chance of a false alarm at a value; ``two_sided_test``: a fall is a change too.
    ``warning_confidence`` is River's and has no effect: a detector here warns by its severity."""

    state_type = MeansState
    estimation: float | None = None

    def __init__(
        self, drift_confidence: float = 0.001, warning_confidence: float = 0.005, two_sided_test: bool = False
    ) -> None:
        self._confidence, self._two_sided = drift_confidence, two_sided_test
        self.state = MeansState()

    def update(self, error: float) -> bool:
        """Take a 0 or 1 in; whether a change was detected, after which all begins anew."""
        state = self.state
        count = state.all.count + 1.0
        whole = state.all = Mean(count, state.all.mean + (1.0 / count) * (error - state.all.mean))
        bound = self._bound(count)
        if not state.low.count or state.low.mean + self._bound(state.low.count) >= whole.mean + bound:
            state.low = whole
        if not state.high.count or state.high.mean - self._bound(state.high.count) <= whole.mean - bound:
            state.high = whole
        found = self._apart(state.low, whole.mean - state.low.mean) or (
            self._two_sided and self._apart(state.high, state.high.mean - whole.mean)
        )
        if found:
            self.state = MeansState()
        return found

    def _bound(self, count: float) -> float:
        return math.sqrt(1.0 / (2 * count) * math.log(1.0 / self._confidence))

    def _apart(self, cut: Mean, difference: float) -> bool:
        """Whether the mean of all is further from that at the cut than chance allows."""
        count = self.state.all.count
        if cut.count == count:
            return False
        share = (count - cut.count) / cut.count * (1.0 / count)
        return difference >= math.sqrt(share / 2 * math.log(2.0 / self._confidence))


class Weighted(msgspec.Struct, array_like=True, frozen=True):
    """An exponentially weighted mean and the sum of its squared weights. ``begun``: it has seen a value."""

    mean: float = 0.0
    squares: float = 1.0
    begun: bool = False

    def with_value(self, value: float, weight: float) -> Weighted:
        mean = weight * value + (1 - weight) * self.mean if self.begun else value
        return Weighted(mean, weight * weight + (1 - weight) ** 2 * self.squares, True)


class WeightedState(msgspec.Struct, array_like=True):
    """The mean of all; the means before and after the cut for a rise and that for a fall, and the bounds at the two."""

    all: Weighted = Weighted()
    before_rise: Weighted = Weighted()
    after_rise: Weighted = Weighted()
    before_fall: Weighted = Weighted()
    after_fall: Weighted = Weighted()
    lowest: float = math.inf
    highest: float = -math.inf

    def __post_init__(self) -> None:
        parts = (self.all, self.before_rise, self.after_rise, self.before_fall, self.after_fall)
        # A mean of ones may be rounded to a little more.
        if not all(0 <= part.mean < 1.001 and 0 <= part.squares <= 1 for part in parts):
            raise ValueError("no means of errors")


class HddmW:
    """As HddmA, of means in which a value weighs ``lambda_val`` and those before it ever less."""

    state_type = WeightedState
    estimation: float | None = None

    def __init__(
        self, drift_confidence: float = 0.001, warning_confidence: float = 0.005, lambda_val: float = 0.05,
        two_sided_test: bool = False,
    ) -> None:  # fmt: skip
        self._confidence, self._weight, self._two_sided = drift_confidence, lambda_val, two_sided_test
        self.state = WeightedState()

    def update(self, error: float) -> bool:
        """Take a 0 or 1 in; whether a change was detected, after which all begins anew."""
        state, weight = self.state, self._weight
        whole = state.all = state.all.with_value(error, weight)
        bound = self._bound(whole.squares)
        if whole.mean + bound < state.lowest:
            state.lowest, state.before_rise, state.after_rise = whole.mean + bound, whole, Weighted()
        else:
            state.after_rise = state.after_rise.with_value(error, weight)
        if whole.mean - bound > state.highest:
            state.highest, state.before_fall, state.after_fall = whole.mean - bound, whole, Weighted()
        else:
            state.after_fall = state.after_fall.with_value(error, weight)
        found = self._risen(state.before_rise, state.after_rise) or (
            self._two_sided and self._risen(state.after_fall, state.before_fall)
        )
        if found:
            self.state = WeightedState()
        return found

    def _bound(self, squares: float) -> float:
        return math.sqrt(squares * math.log(1 / self._confidence) / 2)

    def _risen(self, low: Weighted, high: Weighted) -> bool:
        return low.begun and high.begun and high.mean - low.mean > self._bound(low.squares + high.squares)
