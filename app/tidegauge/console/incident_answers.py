"""The contents of the API's answers about incidents, as plain data from the view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidegauge.console import health
from tidegauge.console.answers import alert
from tidegauge.console.playbook_pages import playbook
from tidegauge.console.view import View
from tidegauge.engine.events import timestamp
from tidegauge.incident import across_models
from tidegauge.incident.across_models import CommonIncident
from tidegauge.incident.changes import BEFORE, at_the_time, seen_in
from tidegauge.metrics.record import iso
from tidegauge.report.recorded_changes import recorded_changes

INCIDENTS_AT_ONCE = 5000


def incidents(view: View, now: float, wanted: Mapping[str, str], limit: int) -> dict[str, Any]:
    """The newest event of each incident, open ones first, at most ``limit`` of ``total``; which incidents of different models
    belong together; and what people did about those that are open. ``wanted``: values of ``status`` and ``model`` to filter by.
    """
    found = [event for event in view.incidents.all() if all(event["data"].get(n) == v for n, v in wanted.items() if v)]
    said = found[:limit]
    attention = {event["data"]["incident"]: _attention(view, event, now) for event in said if event["data"]["status"] == "open"}
    together = msgspec.to_builtins(_together(view))
    return {"incidents": said, "total": len(found), "together": together, "attention": attention}


def _attention(view: View, event: dict[str, Any], now: float) -> dict[str, Any]:
    """Of the alerts of an incident that fire, how many are acknowledged and silenced, by whom; and the last note."""
    firing = firing_alerts(view, event["data"])
    held = [health.attention(view, data, now) for data in firing]
    people = {of[what]["by"]: None for of in held for what in ("acknowledged", "silenced") if what in of}
    notes = _notes(view, event["data"]["incident"])
    said = {"firing": len(firing), "by": list(people)}
    said |= {what: sum(what in of for of in held) for what in ("acknowledged", "silenced")}
    return said | ({"note": notes[-1]} if notes else {})


def firing_alerts(view: View, incident: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data of the newest events of those alerts of an incident that fire."""
    histories = [view.alerts.transitions(alert["fingerprint"]) for alert in incident["alerts"]]
    return [data for events in histories if events and (data := events[-1]["data"])["status"] == "firing"]


def same_fault(view: View, name: str) -> list[str]:
    """The ids of an incident and of those of other models that have the same cause."""
    return next((of.incidents for of in _together(view) if name in of.incidents), [name])


def _notes(view: View, name: str) -> list[dict[str, Any]]:
    return [{"text": of.text, "by": of.by, "at": iso(of.at)} for of in view.operations.notes_on(name)]


def _together(view: View) -> list[CommonIncident]:
    return across_models.together(event["data"] for event in view.incidents.all())


def incident(view: View, name: str, now: float) -> dict[str, Any] | None:
    """An incident with its history, its alerts as far as they are known, and the playbook of its cause; None if it is
    unknown."""
    event = view.incidents.newest(name)
    if event is None:
        return None
    marks = [alert["fingerprint"] for alert in event["data"]["alerts"]]
    known = [found for mark in marks if (found := alert(view, mark, now)) is not None]
    said = {"event": event, "steps": view.incidents.steps(name), "alerts": known, "changes": changes(view, event["data"])}
    groups = [of for of in _together(view) if name in of.incidents]
    others = [view.incidents.newest(other) for of in groups for other in of.incidents if other != name]
    said |= {"together": msgspec.to_builtins(groups), "others": [of for of in others if of is not None]}
    said["notes"] = _notes(view, name)
    page = playbook(event["data"]["runbook_url"])
    return said | ({"playbook": page} if page else {})


def changes(view: View, incident: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The changes around the beginning of an incident, the oldest first."""
    model = incident["model"]
    began = timestamp(incident["starts_at"])
    # If windows were dropped for lack of memory, the first window that is held may not be the first one of its version.
    whole = [series for series in view.windows.series(model) if not series.segment and not series.dropped]
    records = [
        msgspec.json.decode(series.raw[start])
        for series in whole
        for start in dict.fromkeys((*series.starts()[:1], *series.between(iso(began - 2 * BEFORE), iso(began + BEFORE))))
    ]
    recorded = recorded_changes(view.operations.marks.values(), view.registry, model)
    return at_the_time(seen_in(records) + recorded, model, began)
