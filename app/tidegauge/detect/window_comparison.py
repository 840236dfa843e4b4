"""KSWIN: compares the newest values of a window with as many drawn from its older ones, by the Kolmogorov-Smirnov test.

Raab, Heusinger and Schleif, "Reactive soft prototype computing for concept drift streams" (Neurocomputing 2020).
"""

from __future__ import annotations

import array
import random
import sys
import warnings

import msgspec

from tidegauge.errors import TidegaugeError

LEAST_DISTANCE = 0.1
"""A smaller Kolmogorov-Smirnov distance is not a change, however significant it is."""
_WORDS = 625
"""The number of 32-bit words in the state of the Mersenne Twister, and one for its position."""


class State(msgspec.Struct, array_like=True):
    """The window, the oldest value first, and the state of the random generator as little-endian words."""

    window: list[float]
    generator: bytes


class Kswin:
    """``alpha``: the level of the test; ``stat_size``: how many of the newest values are compared; ``window_size``: how many
    values the window has; ``seed``: of the random draw."""

    state_type = State
    estimation: float | None = None

    def __init__(self, alpha: float = 0.005, window_size: int = 100, stat_size: int = 30, seed: int = 1) -> None:
        if not 0.0 <= alpha <= 1.0:
            raise ValueError(f"alpha is {alpha:g}, not between 0 and 1")
        if not 0 < stat_size <= window_size - stat_size:
            raise ValueError(f"stat_size {stat_size} is more than half of window_size {window_size}")
        self._alpha, self._size, self._newest, self._seed = alpha, window_size, stat_size, seed
        self._begin()

    def _begin(self) -> None:
        self._window: list[float] = []
        self._random = random.Random(self._seed)

    def update(self, value: float) -> bool:
        """Add a value; return whether a change was detected, after which the detector starts anew."""
        window = self._window
        window.append(value)
        del window[: -self._size]
        if len(window) < self._size:
            return False
        from scipy.stats import ks_2samp

        older = [window[place] for place in self._random.sample(range(self._size - self._newest), self._newest)]
        with warnings.catch_warnings():
            # SciPy warns if the p-value is not exact.
            warnings.simplefilter("ignore", category=RuntimeWarning)
            distance, chance = ks_2samp(older, window[-self._newest :], method="auto")
        found = bool(chance <= self._alpha and distance > LEAST_DISTANCE)
        if found:
            self._begin()
        return found

    @property
    def state(self) -> State:
        words = array.array("I", self._random.getstate()[1])
        if sys.byteorder == "big":
            words.byteswap()
        return State(list(self._window), words.tobytes())

    @state.setter
    def state(self, state: State) -> None:
        """Raises TidegaugeError for a state that this detector cannot have."""
        words = array.array("I")
        if len(state.window) > self._size or len(state.generator) != _WORDS * words.itemsize:
            raise TidegaugeError("a stored KSWIN state is of another size")
        words.frombytes(state.generator)
        if sys.byteorder == "big":
            words.byteswap()
        try:
            self._random.setstate((3, tuple(words), None))
        except ValueError as error:
            raise TidegaugeError(f"a stored KSWIN state cannot be: {error}") from error
        self._window = list(state.window)
