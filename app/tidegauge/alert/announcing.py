"""Turns an alert's transition into output records: adds traces of the examples, the runbook and the incident, and builds the
CloudEvent."""

from __future__ import annotations

from typing import Any

from tidegauge.alert.life_cycle import CONTENT_TYPE, AlertState, Transition, cloud_event
from tidegauge.alert.playbooks import runbook_url
from tidegauge.engine.stage import ALERTS, Output
from tidegauge.engine.traces import Traces
from tidegauge.incident.incident_book import IncidentBook
from tidegauge.spec import ROLLOUT


class Announcer:
    """Builds the events of one monitor task's alerts. ``playbooks``: the base address of the playbooks; an alert links to one
    if its spec names no runbook."""

    def __init__(self, traces: Traces, incidents: IncidentBook, playbooks: str) -> None:
        self._traces, self._incidents, self._playbooks = traces, incidents, playbooks

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
        observed = self._incidents.observe(data, time)
        data["incident"] = observed.incident
        state.data = data
        fingerprint = data["fingerprint"]
        event = cloud_event(fingerprint, transition, data, time)
        return [Output(ALERTS, fingerprint.encode(), event, headers=CONTENT_TYPE), *observed.outputs]
