"""Transitions of alerts to output records: traces of the examples, the runbook, the incident, the CloudEvent."""

from __future__ import annotations

from typing import Any

from tidegauge.alert.life_cycle import CONTENT_TYPE, AlertState, Transition, cloud_event
from tidegauge.alert.playbooks import runbook_url
from tidegauge.engine.stage import ALERTS, Output
from tidegauge.engine.traces import Traces
from tidegauge.incident.incident_book import IncidentBook
from tidegauge.spec import ROLLOUT


class Announcer:
    """``playbooks``: the address below which the playbooks lie. An alert points to one where its spec names no runbook."""

    def __init__(self, traces: Traces, incidents: IncidentBook, playbooks: str) -> None:
        self._traces, self._incidents, self._playbooks = traces, incidents, playbooks

    def announce(
        self, state: AlertState, transition: Transition, data: dict[str, Any], runbook: str | None, time: float
    ) -> list[Output]:
        """The event that tells of a transition, at event ``time``, and what becomes of its incident. ``data``: the event's,
        which it completes and which ``state`` keeps; ``runbook``: the spec's own."""
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
