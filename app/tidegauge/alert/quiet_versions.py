"""Ends the alerts of versions and segments that get no more requests, as of a version that another one has replaced: no verdict
would ever resolve them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tidegauge.alert.announcing import Announcer
from tidegauge.alert.life_cycle import Transition
from tidegauge.alert.states import AlertName, AlertStates
from tidegauge.engine.stage import Output
from tidegauge.judge.meaning import without_requests
from tidegauge.metrics.record import iso
from tidegauge.spec import duration

QUIET_WINDOWS, QUIET_SECONDS = 7, 86400.0
"""An alert ends after so many of its windows, and at least so many seconds, without a request."""


class VersionSegment(NamedTuple):
    """A version, and the name of one of its segments ("" is the whole model)."""

    version: str
    segment: str


def resolve_quiet(
    states: AlertStates, announcer: Announcer, model: str, last: Mapping[VersionSegment, float], now: float
) -> list[Output]:
    """Resolve the alerts on windows of ``model`` whose version and segment have been quiet at event time ``now``. ``last``: the
    end of the newest window with a request, of the versions and segments that are still remembered."""
    outputs: list[Output] = []
    for mark, state in list(states.items()):
        labels = state.data.get("labels", {}) if state.firing else {}
        if labels.get("model") != model or state.data["window"] is None:
            continue
        length = duration(state.data["window"]["length"])
        subject = VersionSegment(labels["model_version"], labels["segment"])
        ended = max(state.window + length, last.get(subject, 0.0))
        if now < ended + max(QUIET_WINDOWS * length, QUIET_SECONDS):
            continue
        state.firing = False
        state.sequence += 1
        where = f" for {subject.segment}" if subject.segment else ""
        annotations = {
            "summary": without_requests(subject.version, subject.segment, ended),
            "description": f"{subject.version}{where}: there has been no request since {iso(ended)}, so that nothing tells "
            f"whether {state.data['metric']} is still {state.data['condition']}",
        }
        data = state.data | {"status": "resolved", "ends_at": iso(ended), "annotations": annotations}
        data.pop("affected", None)
        runbook = state.data["annotations"]["runbook_url"]
        outputs.extend(announcer.announce(state, Transition("resolved", state.sequence), data, runbook, now))
        states.put(mark, state, AlertName(labels["alertname"], model, subject.version))
    return outputs
