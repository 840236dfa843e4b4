"""How each model has been doing, window by window: what the page of all models draws as strips and small lines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import msgspec

from tidegauge.console import health
from tidegauge.console.view import View
from tidegauge.console.window_series import Series, order
from tidegauge.spec import duration

WINDOWS_TOLD = 40
"""The newest windows of the longest length of the version that leads."""
MAIN_METRICS = ("roc_auc", "accuracy", "rmse", "mae", "f1")
"""The metric told of a model: the first of these that any of the windows has, else the first in the alphabet."""
_RANK = {"info": 1, "warning": 2, "critical": 3}


class _Record(msgspec.Struct):
    """Of a metrics record what is drawn; everything else is skipped, not decoded."""

    window_end: str = ""
    predictions: int | None = None
    coverage: float | None = None
    performance: dict[str, Any] = {}


class _Span(msgspec.Struct):
    """From when to when (None: still) something of a concern was wrong, and how severely."""

    concern: str
    severity: str
    since: str
    until: str | None


_decode = msgspec.json.Decoder(_Record).decode


def fleet(view: View) -> dict[str, Any]:
    """Of each model the newest windows (oldest first) with predictions, coverage and the main metric, None where unknown, and
    for each of the four concerns the severity of the worst trouble in each window, None where there was none."""
    spans: dict[str, list[_Span]] = {}
    for event in view.incidents.all():
        if event["data"].get("resolution") != "restated":
            spans.setdefault(event["data"]["model"], []).extend(_spans(view, event["data"]))
    return {"models": [_history(view, model, spans.get(model, [])) for model in view.models()]}


def _spans(view: View, incident: dict[str, Any]) -> Iterable[_Span]:
    """How long each alert of an incident lasted: until it was resolved, where that is known, else as long as the incident."""
    for alert in incident["alerts"]:
        until = incident["ends_at"]
        known = view.alerts.newest(alert["fingerprint"])
        if known is not None and known["data"]["starts_at"] == alert["starts_at"]:
            until = known["data"]["ends_at"]
        yield _Span(health.concern_of(alert["metric"]), alert["severity"], alert["starts_at"], until)


def _history(view: View, model: str, spans: list[_Span]) -> dict[str, Any]:
    series = health.whole(view, model)
    if not series:
        return {"model": model, "windows": []}
    longest = max((s for s in series if s.name.version == series[0].name.version), key=lambda s: duration(s.name.window))
    starts = longest.starts()[-WINDOWS_TOLD:]
    records = [_read(longest, start) for start in starts]
    names = {name for record in records for name, of in record.performance.items() if isinstance(of, int | float)}
    main = next((name for name in MAIN_METRICS if name in names), min(names, default=None))
    edges = [*starts, records[-1].window_end or starts[-1]]
    return {
        "model": model,
        "model_version": longest.name.version,
        "window": longest.name.window,
        "windows": starts,
        "predictions": [record.predictions for record in records],
        "coverage": [record.coverage for record in records],
        **({"metric": {"name": main, "values": [record.performance.get(main) for record in records]}} if main else {}),
        "health": {concern: _worst([s for s in spans if s.concern == concern], edges) for concern in health.CONCERNS},
    }


def _worst(spans: list[_Span], edges: list[str]) -> list[str | None]:
    """Between each two edges, the severest of the spans that lie there."""
    found: list[str | None] = []
    for begin, end in pairwise(map(order, edges)):
        there = [s.severity for s in spans if order(s.since) < end and (s.until is None or order(s.until) > begin)]
        found.append(max(there, key=lambda severity: _RANK.get(severity, 0), default=None))
    return found


def _read(series: Series, start: str) -> _Record:
    try:
        return _decode(series.raw[start])
    except msgspec.MsgspecError:
        return _Record()
