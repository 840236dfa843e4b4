"""Page-Hinkley: detects that the sum of deviations from the mean, with fading, has moved away from its extreme.

Page, "Continuous inspection schemes" (Biometrika 1954), in the two-sided form with fading of River's ``PageHinkley``.
"""

from __future__ import annotations

import math

import msgspec


class State(msgspec.Struct, array_like=True):
    """Count and mean of the values; the sums, with fading, of upward and downward deviations from the mean; their extremes."""

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
    """``min_instances``: the number of values before the first verdict; ``delta``: deviations that are tolerated;
    ``threshold``: how far a sum may move from its extreme; ``alpha``: the factor by which a sum fades with each value;
    ``mode``: ``up``, ``down`` or ``both``."""

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
        """Add a value; return whether a change was detected, after which the detector starts anew."""
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
