"""The history of each alert from the topic ``alerts``, which is read with the newest records first and older blocks later."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from typing import Any

import msgspec

from tidegauge.alert.states import EXAMPLES
from tidegauge.engine.forgotten import digest_of

ALERTS_KEPT = 10_000
"""The most alerts that are held; beyond it those with the oldest last change are dropped, resolved ones first."""
TRANSITIONS_KEPT = 100
"""The most transitions that are held of one alert."""
BUDGET = 128 << 20
"""The most bytes of transitions that are held."""
_OVERHEAD = 200
"""The bytes that a transition takes in addition to its record."""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class _Alert(msgspec.Struct):
    """One alert. ``transitions``: id and record of each, the oldest first; ``newest``: the newest event; ``changed``: the
    number of its last change among the changes of all alerts."""

    newest: dict[str, Any] = {}
    transitions: list[tuple[str, bytes]] = []
    changed: int = 0


class AlertHistory:
    """All alerts by fingerprint, with their transitions as CloudEvents, the oldest first.

    ``forgotten``: the digests of requests that are not shown (``Operations.forgotten``); the collection may change later."""

    def __init__(self, forgotten: Collection[str] = ()) -> None:
        self._forgotten = forgotten
        # Both in the order of the last change.
        self._firing: dict[str, _Alert] = {}
        self._resolved: dict[str, _Alert] = {}
        self._older: AlertHistory | None = None
        self._first = self._last = 0
        self.unreadable = self.dropped = self.size = 0

    def take(self, value: bytes | None) -> str | None:
        """Take in one record that is newer than all before; return the model it is about. A record whose ``id`` is already
        known changes nothing."""
        raw = value or b""
        try:
            event = _decode(raw)
            data = event["data"]
            name, mark, model, _ = str(event["id"]), data["fingerprint"], data["labels"]["model"], data["status"]
        except (msgspec.MsgspecError, LookupError, TypeError, RecursionError):
            self.unreadable += 1
            return None
        alert = self._firing.pop(mark, None) or self._resolved.pop(mark, None) or _Alert()
        if all(name != known for known, _ in alert.transitions):
            alert.newest = event
            alert.transitions.append((name, raw))
            self.size += len(raw) + _OVERHEAD
            self._forget_first(alert)
        self._last += 1
        alert.changed = self._last
        firing = alert.newest["data"]["status"] == "firing"
        (self._firing if firing else self._resolved)[mark] = alert
        self._drop()
        return str(model)

    def take_older(self, value: bytes | None) -> str | None:
        """Take in one record of a block of older records, in order within the block; return the model it is about."""
        if self._older is None:
            self._older = AlertHistory()
        return self._older.take(value)

    def end_of_block(self) -> None:
        """End a block of older records, which is shown from now on; the next block is older than all records so far."""
        older, self._older = self._older, None
        if older is None:
            return
        new: dict[str, _Alert] = {}
        for mark, alert in sorted((*older._firing.items(), *older._resolved.items()), key=lambda item: -item[1].changed):
            known = self._firing.get(mark) or self._resolved.get(mark)
            if known is None:
                self._first -= 1
                alert.changed = self._first
                new[mark] = alert
                self.size += sum(len(raw) + _OVERHEAD for _, raw in alert.transitions)
            else:
                names = {name for name, _ in known.transitions}
                before = [told for told in alert.transitions if told[0] not in names]
                known.transitions[:0] = before
                self.size += sum(len(raw) + _OVERHEAD for _, raw in before)
                self._forget_first(known)
        oldest_first = dict(reversed(new.items()))
        fires = {mark for mark in oldest_first if mark in older._firing}
        self._firing = {mark: of for mark, of in oldest_first.items() if mark in fires} | self._firing
        self._resolved = {mark: of for mark, of in oldest_first.items() if mark not in fires} | self._resolved
        self.unreadable += older.unreadable
        self.dropped += older.dropped
        self._drop()

    def all(self) -> list[dict[str, Any]]:
        """The newest event of each alert, the latest first."""
        return [self._shown(alert.newest) for alert in sorted(self._alerts(), key=lambda alert: -alert.changed)]

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """The newest event of each firing alert, by model, the latest first."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in reversed(self._firing.values()):
            found.setdefault(str(alert.newest["data"]["labels"]["model"]), []).append(self._shown(alert.newest))
        return found

    def newest(self, fingerprint: str) -> dict[str, Any] | None:
        """The newest event of an alert; None if the alert is unknown."""
        alert = self._firing.get(fingerprint) or self._resolved.get(fingerprint)
        return None if alert is None else alert.newest

    def transitions(self, fingerprint: str) -> list[dict[str, Any]]:
        """The transitions that are held of an alert, the oldest first; empty if the alert is unknown."""
        alert = self._firing.get(fingerprint) or self._resolved.get(fingerprint)
        return [] if alert is None else [self._shown(_decode(raw)) for _, raw in alert.transitions]

    def _shown(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event without examples of forgotten requests."""
        evidence = event["data"].get("evidence")
        if not self._forgotten or not isinstance(evidence, dict):
            return event
        shown = {
            name: [of for of in said if not self._is_forgotten(of)] if name in EXAMPLES and isinstance(said, list) else said
            for name, said in evidence.items()
        }
        return event | {"data": event["data"] | {"evidence": shown}}

    def _is_forgotten(self, example: Any) -> bool:
        name = example.get("request_id") if isinstance(example, dict) else example
        return digest_of(str(name)).hex() in self._forgotten

    def _alerts(self) -> Iterator[_Alert]:
        return chain(self._firing.values(), self._resolved.values())

    def _forget_first(self, alert: _Alert) -> None:
        gone = alert.transitions[:-TRANSITIONS_KEPT]
        del alert.transitions[:-TRANSITIONS_KEPT]
        self.size -= sum(len(raw) + _OVERHEAD for _, raw in gone)

    def _drop(self) -> None:
        while len(self._firing) + len(self._resolved) > ALERTS_KEPT or self.size > BUDGET:
            held = self._resolved or self._firing
            if not held:
                return
            alert = held.pop(next(iter(held)))
            self.size -= sum(len(raw) + _OVERHEAD for _, raw in alert.transitions)
            self.dropped += 1
