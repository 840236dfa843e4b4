"""Counts what a logger has done with its events, for ``Logger.dropped``, the warnings and Prometheus."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

REASONS = {
    "bad": "it was not an event: the warning names the mistake",
    "buffer_full": "memory and spool were full",
    "refused": "Kafka will never take it",
    "closed": "the logger was closed, or its process ended with no spool to keep it in",
}
"""The reasons for which events are dropped."""


class Counters:
    """The counts of one logger. Any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.accepted = 0
        self.sent = 0
        self.dropped: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        """By reason, the newest mistake in words."""

    def drop(self, reason: str, count: int = 1, text: str = "") -> None:
        with self._lock:
            self.dropped[reason] += count
            if text:
                self.last[reason] = text

    def since(self, before: Mapping[str, int]) -> list[str]:
        """The events dropped since the counts ``before``, in words, one text for each reason."""
        with self._lock:
            return [
                f"{count - before.get(reason, 0)} {reason} ({self.last.get(reason) or REASONS[reason]})"
                for reason, count in self.dropped.items()
                if count > before.get(reason, 0)
            ]
