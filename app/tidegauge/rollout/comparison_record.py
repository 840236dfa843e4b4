"""The published form of a comparison: its record in the topic ``metrics``, and the verdict that updates its alert."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tidegauge.judge.conditions import Verdict
from tidegauge.metrics.record import iso
from tidegauge.rollout.compared_versions import Contrasts, Rollout, SeenVersion, SharedWindow
from tidegauge.rollout.verdict import Compared, Finding
from tidegauge.spec import ROLLOUT, Condition, MonitorSpec, RolloutSpec, Task


def record(
    rollout: Rollout, shared: SharedWindow, windows: int, role: str, task: Task | None, finding: Finding, contrasts: Contrasts
) -> dict[str, Any]:
    """The comparison record of the window ``shared``: the verdict on all windows so far, of which there are ``windows``, and
    the ``contrasts`` of this window alone. ``role``: the challenger's role."""
    window = rollout.window_at(shared.start)
    pairs = shared.pairs
    members: dict[str, Any] = {
        "kind": "comparison",
        "model": rollout.model,
        "model_version": rollout.challenger,
        "champion": rollout.champion,
        "role": role,
        "monitor": rollout.monitor,
        "segment": {},
        "window": window.length,
        "window_start": iso(window.start),
        "window_end": iso(window.end),
        "since": iso(rollout.since),
        "windows": windows,
        "revision": rollout.revision,
        "closed": True,
        "verdict": finding.decision,
        "reason": finding.reason,
        "predictions": {"champion": shared.champion.data.predictions, "challenger": shared.challenger.data.predictions},
        "shared_requests": pairs.requests,
        "metrics": {path: _metric(of) for path, of in finding.compared.items()},
    }
    if pairs.agreement is not None:
        members["agreement_ratio"] = pairs.agreement
    said = pairs.moments("value" if task == "regression" else "score")
    if said is not None:
        sign = -1.0 if rollout.challenger < rollout.champion else 1.0
        members["mean_prediction_difference"] = sign * (said.second - said.first) / said.count
    for path, of in contrasts.items():
        if path in members["metrics"]:
            values = {"champion": of.first / of.weight, "challenger": of.second / of.weight}
            members["metrics"][path]["window"] = values
    return members


def _metric(compared: Compared) -> dict[str, Any]:
    members: dict[str, Any] = msgspec.to_builtins(compared)
    del members["excess"]
    members["sample_sizes"] = {"champion": members.pop("champion_count"), "challenger": members.pop("challenger_count")}
    return members


def switches_in(rollout: Rollout, versions: Mapping[str, SeenVersion], start: float) -> list[dict[str, str]]:
    """The role changes of both versions between the first compared window and the end of the window that begins at
    ``start``."""
    end = start + rollout.length
    found = [
        (since, name, role)
        for name in (rollout.champion, rollout.challenger)
        for since, role in versions[name].switches[1:]
        if rollout.since <= since < end
    ]
    return [{"model_version": name, "role": role, "since": iso(since)} for since, name, role in sorted(found)]


def record_key(rollout: Rollout, start: float) -> bytes:
    """The record key of a comparison record: the same for all revisions of a window, so compaction keeps the newest."""
    parts = (rollout.model, rollout.challenger, "comparison", rollout.champion, rollout.monitor, rollout.window, iso(start))
    return msgspec.json.encode(parts)


def verdict(rollout: Rollout, monitor: RolloutSpec, finding: Finding) -> Verdict:
    """The verdict that a finding is for the challenger's alert."""
    of = None if finding.path is None else finding.compared[finding.path]
    path = finding.path or ROLLOUT
    margin = "its margin" if of is None else f"{of.margin:.2g}"
    alarm = MonitorSpec(monitor.name, path, monitor.window, Condition("above"), runbook=monitor.runbook)
    return Verdict(
        alarm, path, math.nan if of is None else of.challenger, finding.decision == "roll back",
        f"worse than {rollout.champion} by more than {margin}", 0 if of is None else of.challenger_count,
        None if of is None else of.champion, None if of is None else of.p_value, kind=ROLLOUT,
        words=f"{rollout.challenger}: {finding.decision}: {finding.reason}",
    )  # fmt: skip


def ended(rollout: Rollout, monitor: RolloutSpec) -> Verdict:
    """The verdict once the two versions are no longer seen together: nothing is left to promote or roll back."""
    alarm = MonitorSpec(monitor.name, ROLLOUT, monitor.window, Condition("above"), runbook=monitor.runbook)
    words = f"{rollout.challenger} is no longer seen together with {rollout.champion}"
    return Verdict(alarm, ROLLOUT, math.nan, False, "worse than its champion", 0, kind=ROLLOUT, words=words)
