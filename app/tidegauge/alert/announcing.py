"""Turns an alert's transition into output records: adds traces of the examples, the runbook and the incident, and builds the
CloudEvent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidegauge.alert.life_cycle import CONTENT_TYPE, AlertState, Transition, cloud_event
from tidegauge.alert.playbooks import runbook_url
from tidegauge.engine.stage import ALERTS, Output
from tidegauge.engine.traces import Traces
from tidegauge.incident.incident_book import IncidentBook
from tidegauge.spec import ROLLOUT, Lineage

LineageOf = Callable[[str, str], Lineage]
"""Where a version came from, given its model and its name."""
NAMED = ("run_id", "commit", "data_snapshot", "url")
"""What an alert says of that."""


class Announcer:
    """Builds the events of one monitor task's alerts. ``playbooks``: the base address of the playbooks; an alert links to one
    if its spec names no runbook. ``lineage_of``: where a model's version came from."""

    def __init__(self, traces: Traces, incidents: IncidentBook, playbooks: str, lineage_of: LineageOf) -> None:
        self._traces, self._incidents, self._playbooks, self._lineage_of = traces, incidents, playbooks, lineage_of

    def announce(
        self, state: AlertState, transition: Transition, data: dict[str, Any], runbook: str | None, time: float
    ) -> list[Output]:
        """The event of a transition at event ``time``, and the events of the incident that it changes. ``data``: the event's
        data, which is completed here and kept in ``state``; ``runbook``: the one that the spec names."""
        about = ROLLOUT if data["kind"] == ROLLOUT else data["metric"]
        traces = self._traces.of(data["evidence"]["request_ids"])
        if traces:
            found = [{"request_id": request_id, "traceparent": parent} for request_id, parent in traces.items()]
            data["evidence"] = data["evidence"] | {"traces": found}
        data["annotations"]["runbook_url"] = runbook or runbook_url(self._playbooks, about)
        if transition.resolution:
            data["annotations"]["resolution"] = transition.resolution
        lineage = self._lineage_of(data["labels"]["model"], data["labels"]["model_version"])
        if known := {name: text for name in NAMED if (text := getattr(lineage, name))}:
            data["lineage"] = known
        observed = self._incidents.observe(data, time)
        data["incident"] = observed.incident
        state.data = data
        fingerprint = data["fingerprint"]
        event = cloud_event(fingerprint, transition, data, time)
        return [Output(ALERTS, fingerprint.encode(), event, headers=CONTENT_TYPE), *observed.outputs]
