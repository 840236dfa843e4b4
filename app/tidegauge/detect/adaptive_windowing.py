"""ADWIN: a window of the newest values that is cut where the means of its two parts differ by more than chance allows.

Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing" (SDM 2007). The window itself is River's
implementation in Rust, which takes 0.1 µs for a value. River serialises it as bytes in a layout of its own; this module
converts them to fields and back, so that every part of a stored state is validated.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import msgspec

from tidegauge.errors import TidegaugeError

_HEAD = struct.Struct("<dIQdddddd4IQ")
"""The fields: delta, clock, max_buckets, min_window_length, grace_period, sum, variance, width, sum of widths, number of
buckets ever made, largest number of buckets, number of values, number of detections, number of rows of buckets that follow."""
_TAIL = struct.Struct("<dIQII")
"""The fields: delta, clock, max_buckets, min_window_length, grace_period."""
_COUNT = struct.Struct("<Q")
MAX_ROWS = 64
"""The most rows of buckets. The buckets of each row hold twice as many values as those of the row before."""


class Row(msgspec.Struct, array_like=True):
    """A row of buckets with equal numbers of values, the oldest last: how many are in use, and the sum and variance of each."""

    used: int
    sums: list[float]
    variances: list[float]


class State(msgspec.Struct, array_like=True):
    """The state of a window, with the fields in River's order."""

    sum: float
    variance: float
    width: float
    widths: float
    made: int
    most: int
    values: int
    detections: int
    rows: list[Row]
    detected: bool


class Adwin:
    """``delta``: the probability of a false cut in one check of the window, which is checked every ``clock`` values."""

    state_type = State

    def __init__(
        self, delta: float = 0.002, clock: int = 32, max_buckets: int = 5, min_window_length: int = 5, grace_period: int = 10
    ) -> None:
        self._parameters = (delta, clock, max_buckets, min_window_length, grace_period)
        self._detected = False
        self._window = self._fresh()

    def _fresh(self) -> Any:
        # Importing `river.drift` would load all of River with pandas and scikit-learn, 75 MB that are not needed here.
        from river._river_rust.drift import AdaptiveWindowing

        return AdaptiveWindowing(*self._parameters)

    def update(self, value: float) -> bool:
        """Add a value; return whether a change was detected. The value after a change begins a new window."""
        if self._detected:
            self._window = self._fresh()
        self._detected = found = self._window.update(value)
        return found  # type: ignore[no-any-return]

    @property
    def estimation(self) -> float:
        """The mean of the window, 0 if it is empty."""
        width = self._window.get_width()
        return self._window.get_total() / width if width else 0.0

    @property
    def state(self) -> State:
        raw = self._window.__getstate__()
        *_, total, variance, width, widths, made, most, values, detections, count = _HEAD.unpack_from(raw)
        rows, at = [], _HEAD.size
        for _ in range(count):
            _, used = struct.unpack_from("<QQ", raw, at)
            sums, at = _floats(raw, at + 2 * _COUNT.size)
            variances, at = _floats(raw, at)
            rows.append(Row(used, sums, variances))
        known = State(total, variance, width, widths, made, most, values, detections, rows, self._detected)
        if self._pack(known) != raw:
            raise TidegaugeError("ADWIN's window is not laid out as expected: this version of River is not the one tested with")
        return known

    @state.setter
    def state(self, state: State) -> None:
        """Raises TidegaugeError for a state that no window with these parameters can have."""
        capacity = self._parameters[2]
        numbers = [state.sum, state.variance, state.width, state.widths]
        for row in state.rows:
            numbers += row.sums + row.variances
            if not (0 <= row.used <= capacity + 1 == len(row.sums) == len(row.variances)):
                raise TidegaugeError("a stored ADWIN window has buckets of another size")
        counts = (state.made, state.most, state.values, state.detections)
        if not (
            1 <= len(state.rows) <= MAX_ROWS and all(map(math.isfinite, numbers)) and all(0 <= n < 1 << 32 for n in counts)
        ):
            raise TidegaugeError("a stored ADWIN window holds what no window can hold")
        self._window.__setstate__(self._pack(state))
        self._detected = state.detected

    def _pack(self, state: State) -> bytes:
        delta, clock, capacity, shortest, grace = self._parameters
        parts = [
            _HEAD.pack(
                delta, clock, capacity, shortest, grace, state.sum, state.variance, state.width, state.widths,
                state.made, state.most, state.values, state.detections, len(state.rows),
            )
        ]  # fmt: skip
        for row in state.rows:
            parts.append(struct.pack("<QQ", capacity, row.used))
            parts += (_COUNT.pack(len(of)) + struct.pack(f"<{len(of)}d", *of) for of in (row.sums, row.variances))
        parts.append(_TAIL.pack(delta, clock, capacity, shortest, grace))
        return b"".join(parts)


def _floats(raw: bytes, at: int) -> tuple[list[float], int]:
    """The floats of a counted array that begins at byte ``at``, and the byte after its end."""
    (count,) = _COUNT.unpack_from(raw, at)
    at += _COUNT.size
    return list(struct.unpack_from(f"<{count}d", raw, at)), at + 8 * count
