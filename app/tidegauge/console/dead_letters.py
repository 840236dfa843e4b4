"""Dead letters: how many for which reason, and the newest of each, made safe to look at."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

import msgspec

SAMPLES_KEPT = 20
"""Newest dead letters kept of each reason."""
SHOWN = 2000
"""Characters of a value that are kept."""
REASONS_KEPT = 100


class DeadLetter(msgspec.Struct, frozen=True):
    """One event that was refused. ``value`` is text, with what is not UTF-8 escaped, cut after SHOWN characters."""

    reason: str
    message: str
    topic: str
    partition: str
    offset: str
    at: float
    key: str
    value: str
    cut: bool


class DeadLetters:
    """Counts by reason and the newest samples of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._samples: dict[str, deque[DeadLetter]] = {}

    def take(
        self, headers: Iterable[tuple[str, bytes]], key: bytes | None, value: bytes | None, timestamp: int
    ) -> None:  # fmt: skip
        """Take in one record of the topic; ``timestamp`` is its own, in milliseconds."""
        said = {name: text.decode("utf-8", "replace") for name, text in headers}
        reason = said.get("reason", "unknown")
        if reason not in self.counts and len(self.counts) >= REASONS_KEPT:
            reason = "__other__"
        self.counts[reason] += 1
        raw = value or b""
        letter = DeadLetter(
            reason,
            said.get("message", ""),
            said.get("topic", ""),
            said.get("partition", ""),
            said.get("offset", ""),
            max(timestamp, 0) / 1000,
            (key or b"")[:256].decode("utf-8", "backslashreplace"),
            raw[:SHOWN].decode("utf-8", "backslashreplace"),
            len(raw) > SHOWN,
        )
        self._samples.setdefault(reason, deque(maxlen=SAMPLES_KEPT)).append(letter)

    def samples(self, reason: str) -> list[DeadLetter]:
        """The newest first."""
        return list(reversed(self._samples.get(reason, ())))
