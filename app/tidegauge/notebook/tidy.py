"""Converts records, alerts and incidents to rows. A record becomes one row for each of its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from tidegauge.incident.across_models import together
from tidegauge.spec import segment_name

METRICS: dict[str, type] = {
    "model": str, "version": str, "segment": str, "window": str, "start": datetime, "end": datetime, "metric": str,
    "feature": str, "value": float, "low": float, "high": float, "p_value": float,
}  # fmt: skip
ALERTS: dict[str, type] = {
    "time": datetime, "status": str, "severity": str, "alertname": str, "model": str, "version": str, "segment": str,
    "feature": str, "metric": str, "value": float, "condition": str, "baseline": float, "start": datetime, "end": datetime,
    "resolution": str, "incident": str, "summary": str, "description": str, "fingerprint": str,
}  # fmt: skip
INCIDENTS: dict[str, type] = {
    "incident": str, "model": str, "status": str, "severity": str, "title": str, "start": datetime, "end": datetime,
    "cause": str, "metric": str, "feature": str, "concern": str, "alerts": int, "resolution": str, "runbook_url": str,
    "together": str, "carried_by": str,
}  # fmt: skip
_LEFT_OUT = frozenset(
    ("model", "model_version", "segment", "window", "window_start", "window_end", "revision", "compared_with", "recent",
     "performance_interval", "interval", "bin_counts", "bins", "shift_z", "performance_z")
)  # fmt: skip
"""The members of a record that are not numbers of the window itself."""
_TESTS = {
    "psi": "p_value", "js": "p_value", "ks": "ks_p_value", "tail_psi": "tail_p_value", "shift": "shift_p_value",
    "mix_shift": "mix_p_value", "missing_shift": "missing_p_value",
}  # fmt: skip
"""For each distance, the name of the member with its p-value."""
_BY_NAME = (
    ("data", "features"),
    ("data", "segments"),
    ("business",),
    ("fairness",),
    ("attributions",),
    ("prediction", "class_ratio"),
    ("performance", "classes"),
)
"""The members whose own members have names given by the user."""


def metric_rows(records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each number of the records. ``metric``: its path as in a spec's monitor (``performance.roc_auc``,
    ``data.features.*.psi``); ``feature``: what the ``*`` stands for, such as a feature, KPI, dimension or segment."""
    for record in records:
        whole = {
            "model": record["model"],
            "version": record["model_version"],
            "segment": segment_name(tuple(record["segment"].items())),
            "window": record["window"],
            "start": _time(record["window_start"]),
            "end": _time(record["window_end"]),
        }
        bounds = record.get("performance_interval", {})
        known: dict[tuple[str, ...], Any] = {("performance", name): of for name, of in bounds.items()}
        for row in _numbers(record, (), "", known):
            yield whole | row


def _numbers(
    node: Mapping[str, Any], way: tuple[str, ...], feature: str, known: Mapping[tuple[str, ...], Any]
) -> Iterator[dict[str, Any]]:
    bounds = {**known, **{(*way, name): of for name, of in node.get("interval", {}).items()}}
    for name, child in node.items():
        if name in _LEFT_OUT:
            continue
        path = (*way, name)
        if isinstance(child, Mapping):
            if way not in _BY_NAME:
                yield from _numbers(child, path, feature, bounds)
                continue
            own = {(*way, "*", member): of for member, of in (bounds.get(way) or {}).get(name, {}).items()}
            yield from _numbers(child, (*way, "*"), name, bounds | own)
        elif isinstance(child, int | float) and not isinstance(child, bool):
            starred = (*way, "*") if way in _BY_NAME else path
            low, high = bounds.get(path, (None, None))
            yield {
                "metric": ".".join(starred),
                "feature": name if way in _BY_NAME else feature,
                "value": float(child),
                "low": low,
                "high": high,
                "p_value": node.get(_TESTS.get(name, f"{name}_p_value")),
            }


def alert_rows(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each transition, in the order of publication."""
    for event in events:
        data, labels = event["data"], event["data"]["labels"]
        yield {
            **{name: data.get(name) for name in ("status", "severity", "metric", "condition", "incident", "fingerprint")},
            "time": _time(event["time"]),
            "alertname": labels["alertname"],
            "model": labels["model"],
            "version": labels["model_version"],
            "segment": labels["segment"],
            "feature": labels.get("feature", ""),
            "value": _number(data["value"]),
            "baseline": _number(data["baseline"]),
            "start": _time(data["starts_at"]),
            "end": None if data["ends_at"] is None else _time(data["ends_at"]),
            "resolution": data["annotations"].get("resolution"),
            "summary": data["annotations"]["summary"],
            "description": data["annotations"].get("description"),
        }


def incident_rows(events: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each incident in its last state, ordered by their beginning. ``together``: the first one of the incidents
    that belong together across models; ``carried_by``: what carries a drop of performance, "" if nothing is known to."""
    newest = {event["data"]["incident"]: event["data"] for event in events}
    first = {name: of.incidents[0] for of in together(newest.values()) for name in of.incidents}
    for data in sorted(newest.values(), key=lambda of: (of["starts_at"], of["incident"])):
        cause = data["cause"]
        yield {
            **{
                name: data.get(name)
                for name in ("incident", "model", "status", "severity", "title", "resolution", "runbook_url")
            },
            "start": _time(data["starts_at"]),
            "end": None if data["ends_at"] is None else _time(data["ends_at"]),
            "cause": cause["alertname"],
            "metric": cause["metric"],
            "feature": cause["feature"],
            "concern": cause["concern"],
            "alerts": len(data["alerts"]),
            "together": first.get(data["incident"], ""),
            "carried_by": data.get("carried_by", {}).get("text", ""),
        }


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
