"""DDM and EDDM: detect that the error rate is higher, or that errors come closer together, than at the best time so far.

Gama, Medas, Castillo and Rodrigues, "Learning with drift detection" (SBIA 2004); Baena-García, del Campo-Ávila, Fidalgo, Bifet,
Gavaldà and Morales-Bueno, "Early drift detection method" (2006).
"""

from __future__ import annotations

import math

import msgspec


class RateState(msgspec.Struct, array_like=True):
    """Count and mean of the errors; rate and standard deviation of the mean at the time when their sum was smallest."""

    count: float = 0.0
    rate: float = 0.0
    best_rate: float = 0.0
    best_deviation: float = 0.0
    best: float = math.inf

    def __post_init__(self) -> None:
        shares = 0 <= self.rate <= 1 and 0 <= self.best_rate <= 1
        if not (shares and self.count.is_integer() and self.count >= 0 and 0 <= self.best_deviation <= 1 and self.best >= 0):
            raise ValueError("no counts and rates of errors")


class Ddm:
    """``warm_start``: the number of values before the first verdict; ``drift_threshold``: how many standard deviations above
    the best rate is a change. ``warning_threshold`` exists for compatibility with River and has no effect."""

    state_type = RateState
    estimation: float | None = None

    def __init__(self, warm_start: int = 30, warning_threshold: float = 2.0, drift_threshold: float = 3.0) -> None:
        self._warm_start, self._threshold = warm_start, drift_threshold
        self.state = RateState()

    def update(self, error: float) -> bool:
        """Add a 0 or 1; return whether a change was detected, after which the detector starts anew."""
        state = self.state
        state.count += 1.0
        state.rate += (1.0 / state.count) * (error - state.rate)
        if state.count <= self._warm_start:
            return False
        deviation = math.sqrt(state.rate * (1 - state.rate) / state.count)
        level = state.rate + deviation
        if level <= state.best:
            state.best_rate, state.best_deviation = state.rate, deviation
            state.best = level
        found = level > state.best_rate + self._threshold * state.best_deviation
        if found:
            self.state = RateState()
        return found


class DistanceState(msgspec.Struct, array_like=True):
    """Number of values and of errors so far, index of the last error; mean and sum of squared deviations of the distances
    between errors; the largest value so far of the mean plus two standard deviations."""

    values: int = 0
    errors: int = 0
    last: int = 0
    mean: float = 0.0
    squares: float = 0.0
    widest: float = -1.0

    def __post_init__(self) -> None:
        counts = 0 <= self.errors <= self.values and 0 <= self.last <= self.values
        spread = 0 <= self.mean < math.inf and 0 <= self.squares < math.inf
        if not (counts and spread and (self.widest == -1.0 or 0 < self.widest < math.inf)):
            raise ValueError("no counts and distances of errors")


class Eddm:
    """``warm_start``: the number of values, and then of errors, before the first verdict; ``beta``: a change is detected below
    this share of the largest distance. ``alpha`` is River's level for warnings; it has no effect, but may not be below
    ``beta``."""

    state_type = DistanceState
    estimation: float | None = None

    def __init__(self, warm_start: int = 30, alpha: float = 0.95, beta: float = 0.9) -> None:
        if alpha < beta:
            raise ValueError(f"alpha {alpha:g} is less than beta {beta:g}")
        self._warm_start, self._beta = warm_start, beta
        self.state = DistanceState()

    def update(self, error: float) -> bool:
        """Add a 0 or 1; return whether a change was detected, after which the detector starts anew."""
        state = self.state
        state.values += 1
        if error != 1:
            return False
        state.errors += 1
        distance, mean = state.values - state.last, state.mean
        state.last = state.values
        state.mean += (1.0 / state.errors) * (distance - mean)
        state.squares += (distance - mean) * (distance - state.mean)
        if state.values <= self._warm_start:
            return False
        variance = state.squares / (state.errors - 1) if state.errors > 1 else 0.0
        width = state.mean + 2 * variance**0.5
        if width > state.widest:
            state.widest = width
            return False
        found = state.errors > self._warm_start and width / state.widest < self._beta
        if found:
            self.state = DistanceState()
        return found
