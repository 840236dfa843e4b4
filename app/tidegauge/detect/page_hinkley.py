"""Page-Hinkley: how far the faded sum of deviations from the mean has gone from its extreme.

Page, "Continuous inspection schemes" (Biometrika 1954); in the faded, two-sided form of River's ``PageHinkley``.
"""

from __future__ import annotations

import math

import msgspec


class State(msgspec.Struct, array_like=True):
    """Count and mean of the values; the faded sums of what each has above and below it, and their extremes."""

    count: float = 0.0
    mean: float = 0.0
    up: float = 0.0
    down: float = 0.0
    lowest_up: float = math.inf
    highest_down: float = -1.0

    def __post_init__(self) -> None:
        if not (self.count >= 0 and all(map(math.isfinite, (self.count, self.mean, self.up, self.down)))):
            raise ValueError("no counts and sums")


class PageHinkley:
    """``delta``: deviations that are let pass; ``threshold``: how far a sum may go; ``alpha``: what is left of it at the next
    value; ``mode``: ``up``, ``down`` or ``both``."""

    state_type = State
    estimation: float | None = None

    def __init__(
        self, min_instances: int = 30, delta: float = 0.005, threshold: float = 50.0, alpha: float = 1 - 0.0001,
        mode: str = "both",
    ) -> None:  # fmt: skip
        if mode not in ("up", "down", "both"):
            raise ValueError(f"mode is {mode!r}, not one of up, down, both")
        self._least, self._delta, self._threshold, self._alpha = min_instances, delta, threshold, alpha
        self._up, self._down = mode != "down", mode != "up"
        self.state = State()

    def update(self, value: float) -> bool:
        """Take a value in; whether a change was detected, after which all begins anew."""
        state = self.state
        state.count += 1.0
        state.mean += (1.0 / state.count) * (value - state.mean)
        deviation = value - state.mean
        state.up = self._alpha * state.up + deviation - self._delta
        state.down = self._alpha * state.down + deviation + self._delta
        state.lowest_up = min(state.lowest_up, state.up)
        state.highest_down = max(state.highest_down, state.down)
        if state.count < self._least:
            return False
        found = (self._up and state.up - state.lowest_up > self._threshold) or (
            self._down and state.highest_down - state.down > self._threshold
        )
        if found:
            self.state = State()
        return found
