"""Dead letters: how many for which reason, and the newest of each, made safe to look at; whatever the order."""

from __future__ import annotations

from bisect import insort
from collections import Counter
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
        # Of each reason, oldest first: record time and block, by which they are ordered, and the letter.
        self._samples: dict[str, list[tuple[tuple[int, int], DeadLetter]]] = {}
        self._blocks = 0

    def take(
        self, headers: Iterable[tuple[str, bytes]], key: bytes | None, value: bytes | None, timestamp: int, older: bool = False
    ) -> None:  # fmt: skip
        """Take in one record of the topic; ``timestamp`` is its own, in milliseconds. ``older``: of a block that is older than
        all but the block's own."""
        said = dict(headers)
        reason = said.get("reason", b"unknown").decode("utf-8", "replace")
        if reason not in self.counts and len(self.counts) >= REASONS_KEPT:
            reason = "__other__"
        self.counts[reason] += 1
        held = self._samples.setdefault(reason, [])
        place = (timestamp, -1 - self._blocks if older else 0)
        if len(held) == SAMPLES_KEPT and place < held[0][0]:
            return
        raw = value or b""
        said_of = {name: said.get(name, b"").decode("utf-8", "replace") for name in ("message", "topic", "partition", "offset")}
        letter = DeadLetter(
            reason,
            **said_of,
            at=max(timestamp, 0) / 1000,
            key=(key or b"")[:256].decode("utf-8", "backslashreplace"),
            value=raw[:SHOWN].decode("utf-8", "backslashreplace"),
            cut=len(raw) > SHOWN,
        )
        insort(held, (place, letter), key=lambda one: one[0])
        del held[:-SAMPLES_KEPT]

    def end_of_block(self) -> None:
        """What is taken from now on as ``older`` is older than all so far."""
        self._blocks += 1

    def samples(self, reason: str) -> list[DeadLetter]:
        """The newest first."""
        return [letter for _, letter in reversed(self._samples.get(reason, []))]
