"""HDDM: detects that a mean has risen by more than chance allows, by Hoeffding's inequality (A) or McDiarmid's inequality for
weighted means (W).

Frías-Blanco, del Campo-Ávila, Ramos-Jiménez, Morales-Bueno, Ortiz-Díaz and Caballero-Mota, "Online and non-parametric drift
detection methods based on Hoeffding's bounds" (IEEE TKDE 2015).
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec


class Mean(msgspec.Struct, array_like=True, frozen=True):
    """The mean of ``count`` values."""

    count: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    mean: float = 0.0


class MeansState(msgspec.Struct, array_like=True):
    """The mean of all values, and its values at the times when its upper bound was lowest and its lower bound was highest."""

    all: Mean = Mean()
    low: Mean = Mean()
    high: Mean = Mean()

    def __post_init__(self) -> None:
        if not max(self.low.count, self.high.count) <= self.all.count:
            raise ValueError("a part has more values than all")


class HddmA:
    """``drift_confidence``: the probability of a false alarm at a single value; ``two_sided_test``: whether a fall is a change,
    too. ``warning_confidence`` exists for compatibility with River and has no effect."""

    state_type = MeansState
    estimation: float | None = None

    def __init__(
        self, drift_confidence: float = 0.001, warning_confidence: float = 0.005, two_sided_test: bool = False
    ) -> None:
        self._confidence, self._two_sided = drift_confidence, two_sided_test
        self.state = MeansState()

    def update(self, error: float) -> bool:
        """Add a 0 or 1; return whether a change was detected, after which the detector starts anew."""
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
        """Whether the mean of all values is further from the mean at the cut than chance allows."""
        count = self.state.all.count
        if cut.count == count:
            return False
        share = (count - cut.count) / cut.count * (1.0 / count)
        return difference >= math.sqrt(share / 2 * math.log(2.0 / self._confidence))


class WeightedMean(msgspec.Struct, array_like=True, frozen=True):
    """An exponentially weighted mean and the sum of its squared weights. ``begun``: whether it has a value yet."""

    mean: float = 0.0
    squares: float = 1.0
    begun: bool = False

    def with_value(self, value: float, weight: float) -> WeightedMean:
        mean = weight * value + (1 - weight) * self.mean if self.begun else value
        return WeightedMean(mean, weight * weight + (1 - weight) ** 2 * self.squares, True)


class WeightedState(msgspec.Struct, array_like=True):
    """The weighted mean of all values; the weighted means before and after the cut for a rise and the cut for a fall; and the
    bounds at these cuts."""

    all: WeightedMean = WeightedMean()
    before_rise: WeightedMean = WeightedMean()
    after_rise: WeightedMean = WeightedMean()
    before_fall: WeightedMean = WeightedMean()
    after_fall: WeightedMean = WeightedMean()
    lowest: float = math.inf
    highest: float = -math.inf

    def __post_init__(self) -> None:
        parts = (self.all, self.before_rise, self.after_rise, self.before_fall, self.after_fall)
        # Rounding may take a mean of ones slightly above 1.
        if not all(0 <= part.mean < 1.001 and 0 <= part.squares <= 1 for part in parts):
            raise ValueError("no means of errors")


class HddmW:
    """Like HddmA, with exponentially weighted means. ``lambda_val``: the weight of a new value."""

    state_type = WeightedState
    estimation: float | None = None

    def __init__(
        self, drift_confidence: float = 0.001, warning_confidence: float = 0.005, lambda_val: float = 0.05,
        two_sided_test: bool = False,
    ) -> None:  # fmt: skip
        self._confidence, self._weight, self._two_sided = drift_confidence, lambda_val, two_sided_test
        self.state = WeightedState()

    def update(self, error: float) -> bool:
        """Add a 0 or 1; return whether a change was detected, after which the detector starts anew."""
        state, weight = self.state, self._weight
        whole = state.all = state.all.with_value(error, weight)
        bound = self._bound(whole.squares)
        if whole.mean + bound < state.lowest:
            state.lowest, state.before_rise, state.after_rise = whole.mean + bound, whole, WeightedMean()
        else:
            state.after_rise = state.after_rise.with_value(error, weight)
        if whole.mean - bound > state.highest:
            state.highest, state.before_fall, state.after_fall = whole.mean - bound, whole, WeightedMean()
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

    def _risen(self, low: WeightedMean, high: WeightedMean) -> bool:
        return low.begun and high.begun and high.mean - low.mean > self._bound(low.squares + high.squares)
