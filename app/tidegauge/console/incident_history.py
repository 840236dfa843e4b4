"""The history of each incident from the topic ``incidents``, in whatever order its records are read."""

from __future__ import annotations

from typing import Any

import msgspec

INCIDENTS_KEPT = 5_000
"""The most incidents that are held; beyond it those that began first are dropped, resolved ones before open ones."""
STEPS_KEPT = 200
"""The most changes that are held of one incident; older ones are dropped."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Incident(msgspec.Struct):
    """One incident. ``sequence``: the number of the newest event; ``steps``: by number, the time of a change, what changed, and
    the title then."""

    sequence: int = 0
    newest: dict[str, Any] = {}
    steps: dict[int, dict[str, Any]] = {}


class IncidentHistory:
    """All incidents by id. Their events are numbered, so an older event that is read later only changes the history."""

    def __init__(self) -> None:
        self._incidents: dict[str, _Incident] = {}
        self.unreadable = 0

    def take(self, value: bytes | None) -> str | None:
        """Take in one record; return the model it is about."""
        try:
            event = _decode(value or b"")
            data = event["data"]
            name, model = str(data["incident"]), str(data["model"])
            sequence = int(str(event["id"]).rpartition("-")[2])
            step = {"time": event["time"], **{member: data[member] for member in ("change", "title", "severity", "status")}}
            str(data["starts_at"])
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError):
            self.unreadable += 1
            return None
        held = self._incidents.setdefault(name, _Incident())
        held.steps[sequence] = step
        while len(held.steps) > STEPS_KEPT:
            del held.steps[min(held.steps)]
        if sequence >= held.sequence:
            held.sequence, held.newest = sequence, event
        if len(self._incidents) > INCIDENTS_KEPT:
            del self._incidents[min(self._incidents, key=self._age)]
        return model

    def all(self) -> list[dict[str, Any]]:
        """The newest event of each incident: open ones first, then the latest first."""
        return [self._incidents[name].newest for name in sorted(self._incidents, key=self._age, reverse=True)]

    def newest(self, name: str) -> dict[str, Any] | None:
        """The newest event of an incident; None if the incident is unknown."""
        held = self._incidents.get(name)
        return None if held is None else held.newest

    def steps(self, name: str) -> list[dict[str, Any]]:
        """The changes of an incident, the oldest first."""
        held = self._incidents.get(name)
        return [] if held is None else [held.steps[number] for number in sorted(held.steps)]

    def _age(self, name: str) -> tuple[bool, str, str]:
        data = self._incidents[name].newest["data"]
        return data["status"] == "open", data["starts_at"], name
