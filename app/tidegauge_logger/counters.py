"""Counts what a logger has done with its events, for ``Logger.dropped``, the warnings and Prometheus."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from tidegauge_logger.events import PredictionMembers, is_no_probability

REASONS = {
    "bad": "it was not an event: the warning names the mistake",
    "buffer_full": "memory and spool were full",
    "refused": "Kafka will never take it",
    "closed": "the logger was closed, or its process ended with no spool to keep it in",
}
"""The reasons for which events are dropped."""
NO_PROBABILITY = "no_probability"


class Counters:
    """The counts of one logger. Any thread may add to them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.accepted = 0
        self.sent = 0
        self.no_probability = 0
        """Predictions with a score outside 0 to 1, which were sent."""
        self.dropped: Counter[str] = Counter()
        self.last: dict[str, str] = {}
        """By reason, the newest mistake in words."""

    def note(self, members: PredictionMembers) -> None:
        """Count a prediction to be sent if its score is odd."""
        if is_no_probability(members):
            self.no_probability += 1

    def all(self) -> Counter[str]:
        """What warnings tell, counted so far: dropped events by reason, and NO_PROBABILITY."""
        with self._lock:
            return self.dropped + Counter({NO_PROBABILITY: self.no_probability})

    def drop(self, reason: str, count: int = 1, text: str = "") -> None:
        with self._lock:
            self.dropped[reason] += count
            if text:
                self.last[reason] = text

    def since(self, before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
        """The events dropped between the counts ``before`` and ``now``, in words, one text for each reason."""
        return [
            f"{now[reason] - before.get(reason, 0)} {reason} ({self.last.get(reason) or REASONS[reason]})"
            for reason in REASONS
            if now.get(reason, 0) > before.get(reason, 0)
        ]
