"""Lists alerts for people: by incident, open ones first, so that what is broken comes before each of its symptoms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tidegauge.alert import life_cycle
from tidegauge.incident import sentences

INDENT = "    "


def by_incident(incidents: Iterable[Mapping[str, Any]], alerts: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The lines of a list of alert events, both kinds of events in the order of their publication: each incident as it is now,
    open ones first and then those that began first, with the events of its alerts below it in order of time; at last the events
    of alerts that belong to none of these incidents."""
    newest = {event["data"]["incident"]: event for event in incidents}
    of: dict[str | None, list[dict[str, Any]]] = {}
    for event in alerts:
        name = event["data"].get("incident")
        of.setdefault(name if name in newest else None, []).append(event)
    for name, newest_event in sorted(newest.items(), key=lambda item: _urgency(item[1]["data"])):
        yield sentences.line(newest_event)
        yield from _lines(of.get(name, ()))
    if rest := of.get(None):
        yield "in no incident:"
        yield from _lines(rest)


def _urgency(incident: Mapping[str, Any]) -> tuple[bool, bool, str, str]:
    return incident["status"] != "open", incident["severity"] != "critical", incident["starts_at"], incident["incident"]


def _lines(alerts: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (INDENT + life_cycle.line(event) for event in sorted(alerts, key=lambda event: str(event["time"])))
