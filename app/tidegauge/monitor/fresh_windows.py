"""Open windows with predictions that no early verdict has seen, and whether all of these are as they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Features = frozenset[str]


class Fresh(NamedTuple):
    """What is new in an open window. ``sound``: the features of the new predictions, where every one has all of these and
    nothing is wrong with it, so that no ratio of odd ones can rise; None where that is not so."""

    key: bytes
    sound: Features | None


class FreshWindows:
    """Of one monitor task, by model."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[bytes, Features | None]] = {}

    def add(self, model: str, window: bytes, sound: Callable[[], Features | None]) -> None:
        """Predictions were added to a window; ``sound`` is asked for only while all before were."""
        waiting = self._waiting.setdefault(model, {})
        before = waiting.get(window)
        if window in waiting and before is None:
            return
        features = sound()
        waiting[window] = features if before in (None, features) else None

    def take(self, model: str) -> list[Fresh]:
        """Take out what was added to the model's windows since this was last asked."""
        return [Fresh(key, sound) for key, sound in self._waiting.pop(model, {}).items()]
