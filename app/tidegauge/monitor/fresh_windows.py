"""Keeps track of open windows with predictions that early verdicts have not seen yet, and of whether these are all sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Features = frozenset[str]


class FreshPredictions(NamedTuple):
    """New predictions in an open window, given by its key. ``sound``: their features, if every prediction has all of them
    without any fault, so that no ratio of faulty values can rise; else None."""

    key: bytes
    sound: Features | None


class FreshWindows:
    """The fresh windows of one monitor task, by model."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[bytes, Features | None]] = {}

    def add(self, model: str, window: bytes, sound: Callable[[], Features | None]) -> None:
        """Note that predictions were added to a window. ``sound``: as in ``FreshPredictions``; called only if all earlier ones
        were sound."""
        waiting = self._waiting.setdefault(model, {})
        before = waiting.get(window)
        if window in waiting and before is None:
            return
        features = sound()
        waiting[window] = features if before in (None, features) else None

    def take(self, model: str) -> list[FreshPredictions]:
        """Take out the model's windows to which predictions were added since the last call."""
        return [FreshPredictions(key, sound) for key, sound in self._waiting.pop(model, {}).items()]
