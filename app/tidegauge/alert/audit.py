"""The audit log: every request that changes or tried to change something, as JSON lines and in a topic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import IO, Any

import msgspec

from tidegauge.alert.operations import AUDIT

Write = Callable[[str, bytes | None, bytes | None], Awaitable[None]]
"""Writes a record, given its logical topic, key and value; returns once the record is durable."""


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the audit log. ``outcome``: ``accepted`` is written before a change is made, so that no change goes unlogged;
    ``refused`` gives the ``reason``; ``done`` follows a change that the spec itself asked for. ``details``: the parameters of
    the request, without secrets."""

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

    async def log(self, entry: AuditEntry) -> None:
        """Write an entry. Raises StreamError if the topic cannot be written; the change must then not be made."""
        line = msgspec.json.encode(entry)
        self._lines.write(line + b"\n")
        self._lines.flush()
        if self._write is not None:
            await self._write(AUDIT, None, line)


def stamp(now: float) -> str:
    """Unix seconds as RFC 3339 in UTC with milliseconds.

    >>> stamp(1758931200.25)
    '2025-09-27T00:00:00.250Z'
    """
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
