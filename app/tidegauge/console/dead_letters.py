"""Dead letters: how many for which reason, and the newest of each, made safe to look at; whatever the order."""

from __future__ import annotations

import re
from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from tidegauge.engine.forgotten import digest_of

SAMPLES_KEPT = 20
"""Newest dead letters kept of each reason."""
SHOWN = 2000
"""Characters of a value that are kept."""
REASONS_KEPT = 100
_REQUEST_ID = re.compile(r'"request_id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9.]+)')
"""Wherever it stands, also in what is no JSON as a whole."""


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

    @property
    def request_id(self) -> str:
        """What the value calls its request; "" where that cannot be read."""
        found = _REQUEST_ID.search(self.value)
        try:
            return str(msgspec.json.decode(found[1])) if found else ""
        except msgspec.DecodeError:
            return ""


class DeadLetters:
    """Counts by reason and the newest samples of each.

    ``forgotten``: digests of requests that are not shown, as ``Operations.forgotten`` has them; it may change."""

    def __init__(self, forgotten: Collection[str] = ()) -> None:
        self._forgotten = forgotten
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
        held = [letter for _, letter in reversed(self._samples.get(reason, []))]
        return [letter for letter in held if not (self._forgotten and self._is_forgotten(letter))]

    def _is_forgotten(self, letter: DeadLetter) -> bool:
        return any(digest_of(name).hex() in self._forgotten for name in (letter.key, letter.request_id))
