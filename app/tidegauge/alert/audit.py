"""The audit log: every request that changes something, and every one that tried, as JSON lines and in a topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import IO, Any

import msgspec

from tidegauge.alert.operations import AUDIT

Write = Callable[[str, bytes | None, bytes | None], Awaitable[None]]
"""Writes a record (logical topic, key, value); returns once it is durable."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. ``outcome``: ``accepted`` is written before the change is made, so that none is without its line; ``refused``
    says why in ``reason``; ``done`` comes after a change that the spec itself asked for. ``details`` holds what was asked for,
    never a secret."""

    time: str
    actor: str
    method: str
    remote: str
    action: str
    target: str
    outcome: str
    reason: str = ""
    details: dict[str, Any] = {}


class Audit:
    """Writes entries to ``lines`` and, where there is one, to the topic ``tidegauge-audit``."""

    def __init__(self, lines: IO[bytes], write: Write | None) -> None:
        self._lines, self._write = lines, write

    async def log(self, entry: Entry) -> None:
        """Raises StreamError where the topic cannot be written: then the change must not be made."""
        line = msgspec.json.encode(entry)
        self._lines.write(line + b"\n")
        self._lines.flush()
        if self._write is not None:
            await self._write(AUDIT, None, line)


def stamp(now: float) -> str:
    """RFC 3339 in UTC, with milliseconds.

    >>> stamp(1758931200.25)
    '2025-09-27T00:00:00.250Z'
    """
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
