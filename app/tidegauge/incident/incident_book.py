"""Keeps the incidents of one monitor task in its store, and publishes when one is opened, changed or resolved, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from tidegauge.engine.stage import INCIDENTS, Output, Store
from tidegauge.incident.membership import Incident, incident_for, member_of
from tidegauge.incident.sentences import carried_by, title
from tidegauge.metrics.record import iso

INCIDENT = b"i"
SOURCE = "tidegauge"
SCHEMA = "https://tidegauge.io/schemas/incident.v1.json"
CONTENT_TYPE = (("content-type", b"application/cloudevents+json"),)
MAX_MEMBERS = 500
"""The most alerts of an incident; a further alert begins another incident."""
MAX_KEPT = 200
"""The most incidents of one model that are kept; beyond it the oldest resolved ones are dropped."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Incident).decode


class IncidentUpdate(NamedTuple):
    """The id of the incident that an alert belongs to, and the incident's events to publish."""

    incident: str
    outputs: list[Output]


class IncidentBook:
    """Takes every transition of an alert and assigns it to an incident.

    An incident's id is computed from the model and from the fingerprint and start of its first alert, so it stays the same
    after restarts and in `replay`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_model: dict[str, dict[str, Incident]] = {}
        self._of_alert: dict[str, Incident] = {}
        found = sorted((_decode(raw) for _, raw in store.scan(INCIDENT)), key=lambda incident: incident.last)
        for incident in found:
            self._by_model.setdefault(incident.model, {})[incident.id] = incident
            self._of_alert.update((mark, incident) for mark, member in incident.members.items() if member.firing)

    def open_incidents(self) -> list[Incident]:
        """The incidents with at least one firing alert."""
        return [incident for of in self._by_model.values() for incident in of.values() if incident.open]

    def known(self) -> list[Incident]:
        """All incidents that are kept."""
        return [incident for of in self._by_model.values() for incident in of.values()]

    def observe(self, alert: Mapping[str, Any], time: float) -> IncidentUpdate:
        """Take in the ``data`` of an alert that is about to be published at event ``time``."""
        model, mark = alert["labels"]["model"], alert["fingerprint"]
        member = member_of(alert)
        incident = self._of_alert.get(mark)
        if incident is None:
            # It fires again, perhaps for another reason than last time.
            room = (one for one in self._by_model.get(model, {}).values() if len(one.members) < MAX_MEMBERS)
            incident = incident_for(member, room) or self._opened(model, mark, alert["starts_at"])
        was_open, was = incident.open, incident.members.get(mark)
        if was is not None:
            # A member describes the alert as it was when it began; only its current state is updated.
            how = {name: getattr(member, name) for name in ("firing", "restated", "severity", "last")}
            member = msgspec.structs.replace(was, **how)
        incident.members[mark] = member
        if member.firing:
            self._of_alert[mark] = incident
        else:
            self._of_alert.pop(mark, None)
        incident.last = max(incident.last, time)
        incident.sequence += 1
        incident.title = title(incident, time)
        change = "opened" if incident.open and not was_open else "changed" if incident.open else "resolved"
        self._store.put(INCIDENT + incident.id.encode(), _encode(incident))
        event = _event(incident, change, time)
        return IncidentUpdate(incident.id, [Output(INCIDENTS, incident.id.encode(), event, headers=CONTENT_TYPE)])

    def _opened(self, model: str, mark: str, starts_at: str) -> Incident:
        name = hashlib.blake2b(f"{model}\0{mark}\0{starts_at}".encode("utf-8", "replace"), digest_size=8).hexdigest()
        kept = self._by_model.setdefault(model, {})
        while len(kept) >= MAX_KEPT:
            oldest = min((i for i in kept.values() if not i.open), key=lambda i: (i.last, i.id), default=None)
            if oldest is None:
                break
            del kept[oldest.id]
            self._store.delete(INCIDENT + oldest.id.encode())
        return kept.setdefault(name, Incident(name, model))


def _event(incident: Incident, change: str, time: float) -> bytes:
    """The event as CloudEvents 1.0 in structured JSON. ``time``: event time of the verdict that changed the incident."""
    mark = incident.cause
    cause = incident.members[mark]
    restated = not incident.open and all(member.restated for member in incident.members.values())
    data: dict[str, Any] = {
        "incident": incident.id,
        "status": "open" if incident.open else "resolved",
        "change": change,
        "model": incident.model,
        "severity": incident.severity,
        "title": incident.title,
        "starts_at": iso(incident.starts_at),
        "ends_at": None if incident.open else iso(max(member.last for member in incident.members.values())),
        "first_window_end": iso(max(cause.onset_end, incident.starts_at)),
        "cause": {
            "fingerprint": mark, "alertname": cause.alertname, "metric": cause.metric, "feature": cause.feature,
            "concern": cause.concern,
        },
        "runbook_url": cause.runbook,
        "features": sorted({name for member in incident.alike for name in member.features}),
        "sources": sorted({name for member in incident.alike for name in member.sources}),
        "concerns": list(dict.fromkeys(member.concern for member in incident.in_causal_order.values())),
        "alerts": [
            {
                "fingerprint": mark, "alertname": of.alertname, "model_version": of.version, "segment": of.segment,
                "feature": of.feature, "metric": of.metric, "concern": of.concern, "severity": of.severity,
                "status": "firing" if of.firing else "resolved", "starts_at": iso(of.onset), "summary": of.summary,
            }
            for mark, of in incident.in_causal_order.items()
        ],
    }  # fmt: skip
    if (by := carried_by(incident)) is not None:
        data["carried_by"] = by
    if restated:
        data["resolution"] = "restated"
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"{incident.id}-{incident.sequence}",
            "source": SOURCE,
            "type": "io.tidegauge.incident.v1",
            "subject": incident.model,
            "time": iso(time),
            "datacontenttype": "application/json",
            "dataschema": SCHEMA,
            "data": data,
        }
    )
