"""The recent history of every model, window by window, for the strips and sparklines on the page of all models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from tidegauge.console import health
from tidegauge.console.view import View
from tidegauge.console.window_series import Series
from tidegauge.report.concerns import CONCERNS, Span, concern_of, worst_between
from tidegauge.spec import duration

WINDOWS_TOLD = 40
"""How many of the newest windows are shown for each model: those of its main version with the longest window length."""
MAIN_METRICS = ("roc_auc", "accuracy", "rmse", "mae", "f1")
"""The metric shown for a model is the first of these that one of its windows has, else the alphabetically first one."""


class _Record(msgspec.Struct):
    """Those members of a metrics record that are drawn; all others are skipped without decoding."""

    window_end: str = ""
    predictions: int | None = None
    coverage: float | None = None
    performance: dict[str, Any] = {}


_decode = msgspec.json.Decoder(_Record).decode


def fleet(view: View) -> dict[str, Any]:
    """For each model its newest windows, the oldest first, with predictions, coverage and the main metric (None if unknown),
    and for each of the four concerns the highest severity in each window (None if nothing was wrong)."""
    spans: dict[str, list[Span]] = {}
    for event in view.incidents.all():
        if event["data"].get("resolution") != "restated":
            spans.setdefault(event["data"]["model"], []).extend(_spans(view, event["data"]))
    return {"models": [_history(view, model, spans.get(model, [])) for model in view.models()]}


def _spans(view: View, incident: dict[str, Any]) -> Iterable[Span]:
    """The time that each alert of an incident lasted: until it was resolved if that is known, else as long as the incident."""
    for alert in incident["alerts"]:
        until = incident["ends_at"]
        known = view.alerts.newest(alert["fingerprint"])
        if known is not None and known["data"]["starts_at"] == alert["starts_at"]:
            until = known["data"]["ends_at"]
        yield Span(concern_of(alert["metric"]), alert["severity"], alert["starts_at"], until)


def _history(view: View, model: str, spans: list[Span]) -> dict[str, Any]:
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
        "health": {concern: worst_between([s for s in spans if s.concern == concern], edges) for concern in CONCERNS},
    }


def _read(series: Series, start: str) -> _Record:
    try:
        return _decode(series.raw[start])
    except msgspec.MsgspecError:
        return _Record()
