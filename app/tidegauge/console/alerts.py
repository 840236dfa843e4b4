"""The life of each alert as the topic ``alerts`` tells it."""

from __future__ import annotations

from typing import Any

import msgspec

ALERTS_KEPT = 10_000
"""Alerts held at once; beyond it those that have not changed for longest go, resolved ones first."""
TRANSITIONS_KEPT = 100
"""Transitions remembered of one alert."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Alerts:
    """Every alert by fingerprint, with its transitions as CloudEvents, oldest first."""

    def __init__(self) -> None:
        self._held: dict[str, list[dict[str, Any]]] = {}
        self.unreadable = self.dropped = 0

    def take(self, value: bytes | None) -> str | None:
        """Take in one record; the model it is about. A repeat (by ``id``) changes nothing."""
        try:
            event = _decode(value or b"")
            data = event["data"]
            mark, model = data["fingerprint"], data["labels"]["model"]
        except (msgspec.MsgspecError, LookupError, TypeError, RecursionError):
            self.unreadable += 1
            return None
        held = self._held.pop(mark, [])
        if all(event["id"] != known["id"] for known in held):
            held.append(event)
        del held[:-TRANSITIONS_KEPT]
        self._held[mark] = held
        if len(self._held) > ALERTS_KEPT:
            self._drop()
        return str(model)

    def all(self) -> list[dict[str, Any]]:
        """The newest event of each alert, the latest change first."""
        return [held[-1] for held in reversed(self._held.values())]

    def firing(self) -> list[dict[str, Any]]:
        return [event for event in self.all() if event["data"]["status"] == "firing"]

    def transitions(self, fingerprint: str) -> list[dict[str, Any]]:
        """All that is remembered of an alert, oldest first; empty for one that is not known."""
        return self._held.get(fingerprint, [])

    def _drop(self) -> None:
        resolved = (mark for mark, held in self._held.items() if held[-1]["data"]["status"] == "resolved")
        del self._held[next(resolved, next(iter(self._held)))]
        self.dropped += 1
