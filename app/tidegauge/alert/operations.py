"""Decisions of people: acknowledgements and silences of alerts, notes on incidents, marks of changes, and forgotten requests,
as stored in the compacted topic ``tidegauge-operations``.

The console writes them; the console and the bridges that page people read them. Times are Unix seconds of the wall clock,
since an alert about last week can be silenced for tonight; only a mark's ``ts`` is event time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

OPERATIONS, AUDIT = "tidegauge-operations", "tidegauge-audit"
"""Logical topic names."""
MAX_HELD = 10_000
"""The most acknowledgements, silences, notes and marks that are held, each; beyond it the oldest are dropped."""
MAX_FORGOTTEN = 100_000
"""The most forgotten requests that are held."""


class Acknowledgement(msgspec.Struct, frozen=True, tag_field="kind", tag="acknowledgement"):
    """Somebody has taken note of one episode of an alert, the one that began at ``starts_at`` (as written in the alert)."""

    fingerprint: str
    starts_at: str
    by: str
    at: float
    comment: str = ""

    @property
    def key(self) -> bytes:
        return f"acknowledgement/{self.fingerprint}".encode()


class Silence(msgspec.Struct, frozen=True, tag_field="kind", tag="silence"):
    """From ``starts_at`` until ``ends_at`` nobody is paged for alerts whose labels have all values in ``matchers``."""

    id: str
    matchers: dict[str, str]
    starts_at: float
    ends_at: float
    by: str
    at: float
    comment: str = ""

    @property
    def key(self) -> bytes:
        return f"silence/{self.id}".encode()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the silence is about an alert with these labels. As in Alertmanager, a missing label counts as empty.

        >>> silence = Silence("1", {"alertname": "auc", "segment": ""}, 0.0, 60.0, "me", 0.0)
        >>> silence.matches({"alertname": "auc", "model": "m"}), silence.matches({"alertname": "auc", "segment": "a=b"})
        (True, False)
        """
        return all(labels.get(name, "") == value for name, value in self.matchers.items())

    def covers(self, labels: Mapping[str, str], now: float) -> bool:
        """Whether an alert with these labels is silenced at ``now``.

        >>> silence = Silence("1", {"alertname": "auc"}, 0.0, 60.0, "me", 0.0)
        >>> silence.covers({"alertname": "auc", "model": "m"}, 59.0), silence.covers({"alertname": "auc"}, 60.0)
        (True, False)
        """
        return self.starts_at <= now < self.ends_at and self.matches(labels)


class Mark(msgspec.Struct, frozen=True, tag_field="kind", tag="mark"):
    """Something that was changed at event time ``ts``, such as a release or a migration. ``model``: "" means all models.
    ``version`` and ``before``: the registry's numbers of the version that serves from then on, and of the one before."""

    id: str
    text: str
    ts: float
    by: str
    at: float
    model: str = ""
    version: str = ""
    before: str = ""

    @property
    def key(self) -> bytes:
        return f"mark/{self.id}".encode()


class Note(msgspec.Struct, frozen=True, tag_field="kind", tag="note"):
    """What somebody writes for the others about ``incidents``, given by their ids: all that one fault is in several models."""

    id: str
    incidents: tuple[str, ...]
    text: str
    by: str
    at: float

    @property
    def key(self) -> bytes:
        return f"note/{self.id}".encode()


class Forgotten(msgspec.Struct, frozen=True, tag_field="kind", tag="forgotten"):
    """A request whose id is no longer shown anywhere. ``digest``: the digest of the id (``engine/forgotten.py``) in
    hexadecimal."""

    digest: str
    by: str
    at: float

    @property
    def key(self) -> bytes:
        return f"forgotten/{self.digest}".encode()


Operation = Acknowledgement | Silence | Mark | Note | Forgotten
_decode = msgspec.json.Decoder(Operation).decode
encode = msgspec.json.Encoder().encode


class Operations:
    """What stands: the newest record of each key, none where that is a tombstone."""

    def __init__(self) -> None:
        self.acknowledgements: dict[str, Acknowledgement] = {}
        self.silences: dict[str, Silence] = {}
        self.marks: dict[str, Mark] = {}
        self.notes: dict[str, Note] = {}
        self.forgotten: dict[str, Forgotten] = {}
        self.unreadable = 0

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one record of the topic. One that cannot be read is counted and changes nothing."""
        kind, _, name = (key or b"").decode("utf-8", "replace").partition("/")
        if value is None:
            held: dict[str, dict[str, Any]] = {
                "acknowledgement": self.acknowledgements, "silence": self.silences, "mark": self.marks,
                "note": self.notes, "forgotten": self.forgotten,
            }  # fmt: skip
            held.get(kind, {}).pop(name, None)
            return
        try:
            operation = _decode(value)
        except (msgspec.MsgspecError, RecursionError):
            self.unreadable += 1
            return
        if isinstance(operation, Acknowledgement):
            _hold(self.acknowledgements, operation.fingerprint, operation)
        elif isinstance(operation, Mark):
            _hold(self.marks, operation.id, operation)
        elif isinstance(operation, Note):
            _hold(self.notes, operation.id, operation)
        elif isinstance(operation, Silence):
            _hold(self.silences, operation.id, operation)
        else:
            _hold(self.forgotten, operation.digest, operation)

    def acknowledged(self, fingerprint: str, starts_at: str) -> Acknowledgement | None:
        """The acknowledgement of this episode of an alert; one of an earlier episode does not count."""
        found = self.acknowledgements.get(fingerprint)
        return found if found is not None and found.starts_at == starts_at else None

    def notes_on(self, incident: str) -> list[Note]:
        """The notes about an incident, the oldest first."""
        return sorted((note for note in self.notes.values() if incident in note.incidents), key=lambda note: note.at)

    def silenced(self, labels: Mapping[str, str], now: float) -> Silence | None:
        """The silence that covers these labels at ``now`` and lasts longest."""
        covering = (silence for silence in self.silences.values() if silence.covers(labels, now))
        return max(covering, key=lambda silence: silence.ends_at, default=None)

    def silenced_since(self, labels: Mapping[str, str], since: float, now: float, gap: float) -> float:
        """Until when these labels have been silenced from ``since`` on, ``now`` at the most; ``since`` if they have not been.
        Pauses of up to ``gap`` seconds between silences, and before the first, do not count.

        >>> held = Operations()
        >>> for number, (starts, ends) in enumerate([(5.0, 20.0), (25.0, 40.0), (90.0, 99.0)]):
        ...     silence = Silence(str(number), {"model": "m"}, starts, ends, "me", starts)
        ...     held.apply(silence.key, encode(silence))
        >>> [held.silenced_since({"model": "m"}, 0.0, now, 10.0) for now in (15.0, 60.0)]
        [15.0, 40.0]
        """
        for silence in sorted(self.silences.values(), key=lambda silence: silence.starts_at):
            if silence.starts_at <= since + gap and silence.matches(labels):
                since = max(since, min(silence.ends_at, now))
        return since


def _hold(held: dict[str, Any], name: str, operation: Operation) -> None:
    most = MAX_FORGOTTEN if isinstance(operation, Forgotten) else MAX_HELD
    held.pop(name, None)
    held[name] = operation
    while len(held) > most:
        del held[next(iter(held))]
