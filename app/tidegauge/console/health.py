"""The summary of each model: the state of its four concerns, firing alerts, coverage, label delay and the last event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidegauge.console.view import View
from tidegauge.console.window_series import Series
from tidegauge.metrics.record import iso
from tidegauge.report.concerns import CONCERNS, RANK, concern_of
from tidegauge.report.monitor_limits import monitors_of
from tidegauge.spec import duration


def health(view: View, model: str, firing: Iterable[dict[str, Any]], now: float) -> dict[str, dict[str, Any]]:
    """The ``state`` of each concern: the highest severity of its firing alerts, ``ok`` if none fires, or ``unwatched`` if no
    monitor is about it. ``firing``: the number of firing alerts; ``quiet``: how many of them are acknowledged or silenced."""
    spec = view.registry.spec(model)
    watched = {concern_of(monitor.metric) for monitor in monitors_of(view.registry, model)}
    watched |= {concern_of(detector.stream) for detector in spec.detectors}
    said: dict[str, dict[str, Any]] = {
        concern: {"state": "ok" if concern in watched else "unwatched", "firing": 0, "quiet": 0} for concern in CONCERNS
    }
    for data in firing:
        of = said[concern_of(data["metric"])]
        of["firing"] += 1
        of["quiet"] += bool(attention(view, data, now))
        if RANK.get(data["severity"], 2) > RANK.get(of["state"], 0):
            of["state"] = data["severity"]
    return said


def attention(view: View, data: dict[str, Any], now: float) -> dict[str, Any]:
    """Who has acknowledged an alert, and the silence that covers it. ``data``: the data of the alert's event."""
    said: dict[str, Any] = {}
    acknowledged = view.operations.acknowledged(data["fingerprint"], data["starts_at"])
    if acknowledged is not None:
        said["acknowledged"] = {"by": acknowledged.by, "at": iso(acknowledged.at), "comment": acknowledged.comment}
    # In Alertmanager the severity is a label.
    silence = view.operations.silenced(data["labels"] | {"severity": data["severity"]}, now)
    if silence is not None:
        said["silenced"] = {"id": silence.id, "by": silence.by, "until": iso(silence.ends_at), "comment": silence.comment}
    return said


def whole(view: View, model: str) -> list[Series]:
    """The series of versions as a whole (no segments), those with the newest window first, then shorter windows first."""
    series = [s for s in view.windows.series(model) if not s.segment and s.raw]
    newest = {id(s): max(s.raw) for s in series}
    return sorted(series, key=lambda s: (newest[id(s)], -duration(s.name.window), len(s.raw)), reverse=True)


def summary(view: View, model: str, events: Iterable[dict[str, Any]], now: float) -> dict[str, Any]:
    """The entry of a model on the page of all models. ``events``: its firing alerts."""
    firing = [event["data"] for event in events]
    spec = view.registry.spec(model)
    said: dict[str, Any] = {"model": model, "task": spec.task, "specified": view.registry.known(model)}
    if model in view.problems:
        said["problem"] = view.problems[model]
    series = whole(view, model)
    said["versions"] = list(dict.fromkeys(s.name.version for s in series))
    said["health"] = health(view, model, firing, now)
    said["firing"] = {severity: sum(d["severity"] == severity for d in firing) for severity in ("critical", "warning", "info")}
    prediction, label = view.progress.last_event(model)
    if prediction is not None:
        said["last_event"] = iso(prediction)
    if label is not None:
        said["last_label"] = iso(label)
    if series:
        said["newest"] = newest(series)
    return said


def newest(series: list[Series]) -> dict[str, Any]:
    """Some members of the newest window of the main version (that with the newest window), in its longest window length."""
    leading = series[0].name.version
    longest = max((s for s in series if s.name.version == leading), key=lambda s: duration(s.name.window))
    record = longest.newest() or {}
    members = (
        "model_version", "window", "window_start", "window_end", "revision", "closed", "settled", "predictions", "labels",
        "coverage", "expected_coverage", "label_delay_seconds", "performance",
    )  # fmt: skip
    return {member: record[member] for member in members if member in record}
