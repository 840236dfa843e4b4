"""The history of each incident from the topic ``incidents``, in whatever order its records are read."""

from __future__ import annotations

from typing import Any

import msgspec

INCIDENTS_KEPT = 5_000
"""The most incidents that are held; beyond it those that began first are dropped, resolved ones before open ones."""
STEPS_KEPT = 200
"""The most changes that are held of one incident; older ones are dropped."""
BUDGET = 64 << 20
"""The most bytes of events and changes that are held, as JSON."""
_OVERHEAD = 200
"""The bytes that an event or a change takes in addition."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class _Incident(msgspec.Struct):
    """One incident. ``sequence``: the number of the newest event, ``raw``; ``steps``: by number, the time of a change, what
    changed, and the title then, as JSON; ``age``: what decides which incident is dropped first."""

    sequence: int = 0
    raw: bytes = b""
    age: tuple[bool, str, str] = (False, "", "")
    steps: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        return sum(map(len, self.steps.values())) + len(self.raw) + _OVERHEAD * (1 + len(self.steps))


class IncidentHistory:
    """All incidents by id. Their events are numbered, so an older event that is read later only changes the history."""

    def __init__(self) -> None:
        self._incidents: dict[str, _Incident] = {}
        self.unreadable = self.size = 0

    def take(self, value: bytes | None) -> str | None:
        """Take in one record; return the model it is about."""
        try:
            event = _decode(value or b"")
            data = event["data"]
            name, model = str(data["incident"]), str(data["model"])
            sequence = int(str(event["id"]).rpartition("-")[2])
            step = {"time": event["time"], **{member: data[member] for member in ("change", "title", "severity", "status")}}
            age = data["status"] == "open", str(data["starts_at"]), name
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError, RecursionError):
            self.unreadable += 1
            return None
        held = self._incidents.setdefault(name, _Incident())
        before = held.size if held.raw else 0
        held.steps[sequence] = _encode(step)
        while len(held.steps) > STEPS_KEPT:
            del held.steps[min(held.steps)]
        if sequence >= held.sequence:
            held.sequence, held.raw, held.age = sequence, value or b"", age
        self.size += held.size - before
        while len(self._incidents) > INCIDENTS_KEPT or self.size > BUDGET:
            self.size -= self._incidents.pop(min(self._incidents, key=self._age)).size
        return model

    def all(self) -> list[dict[str, Any]]:
        """The newest event of each incident: open ones first, then the latest first."""
        return [_decode(self._incidents[name].raw) for name in sorted(self._incidents, key=self._age, reverse=True)]

    def newest(self, name: str) -> dict[str, Any] | None:
        """The newest event of an incident; None if the incident is unknown."""
        held = self._incidents.get(name)
        return None if held is None else _decode(held.raw)

    def steps(self, name: str) -> list[dict[str, Any]]:
        """The changes of an incident, the oldest first."""
        held = self._incidents.get(name)
        return [] if held is None else [_decode(held.steps[number]) for number in sorted(held.steps)]

    def _age(self, name: str) -> tuple[bool, str, str]:
        return self._incidents[name].age
