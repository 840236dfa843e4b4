"""Counts dead letters by reason and keeps the newest of each in a form that is safe to show, in whatever order they come."""

from __future__ import annotations

import re
from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterable

import msgspec

from tidegauge.engine.forgotten import digest_of

SAMPLES_KEPT = 20
"""How many of the newest dead letters are kept for each reason."""
SHOWN = 2000
"""The most characters of a value that are kept."""
NAMED = 1000
"""The most characters of a reason, a message and the place of a letter that are kept."""
REASONS_KEPT = 100
_REQUEST_ID = re.compile(r'"request_id"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9.]+)')
"""Finds the request id anywhere in a value, even if the value as a whole is not JSON."""


class DeadLetter(msgspec.Struct, frozen=True):
    """One refused event. ``value``: its text, with bytes that are not UTF-8 escaped, truncated to SHOWN characters; ``at``: the
    record's time (Unix seconds); ``cut``: whether the value is truncated."""

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
        """The request id in the value; "" if it cannot be read."""
        found = _REQUEST_ID.search(self.value)
        try:
            return str(msgspec.json.decode(found[1])) if found else ""
        except msgspec.DecodeError:
            return ""


class DeadLetters:
    """The counts by reason and the newest samples of each.

    ``forgotten``: the digests of requests that are not shown (``Operations.forgotten``); the collection may change later."""

    def __init__(self, forgotten: Collection[str] = ()) -> None:
        self._forgotten = forgotten
        self.counts: Counter[str] = Counter()
        # For each reason, the oldest first: the order (record time and block), and the letter.
        self._samples: dict[str, list[tuple[tuple[int, int], DeadLetter]]] = {}
        self._blocks = 0

    def take(
        self, headers: Iterable[tuple[str, bytes]], key: bytes | None, value: bytes | None, timestamp: int, older: bool = False
    ) -> None:  # fmt: skip
        """Take in one record of the topic. ``timestamp``: the record's, in milliseconds; ``older``: whether it belongs to a
        block of older records."""
        said = dict(headers)
        reason = _text(said.get("reason", b"unknown"))
        if reason not in self.counts and len(self.counts) >= REASONS_KEPT:
            reason = "__other__"
        self.counts[reason] += 1
        held = self._samples.setdefault(reason, [])
        place = (timestamp, -1 - self._blocks if older else 0)
        if len(held) == SAMPLES_KEPT and place < held[0][0]:
            return
        raw = value or b""
        said_of = {name: _text(said.get(name, b"")) for name in ("message", "topic", "partition", "offset")}
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
        """End a block of older records; the next block is older than all records so far."""
        self._blocks += 1

    def samples(self, reason: str) -> list[DeadLetter]:
        """The samples of a reason, the newest first."""
        held = [letter for _, letter in reversed(self._samples.get(reason, []))]
        return [letter for letter in held if not (self._forgotten and self._is_forgotten(letter))]

    def _is_forgotten(self, letter: DeadLetter) -> bool:
        return any(digest_of(name).hex() in self._forgotten for name in (letter.key, letter.request_id))


def _text(header: bytes) -> str:
    return header[:NAMED].decode("utf-8", "replace")
