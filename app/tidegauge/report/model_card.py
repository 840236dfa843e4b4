"""Builds a model card: a model's purpose, origin, performance, monitoring and known weaknesses.

All content comes from the spec, the baseline, the alerts, and the metrics records of all windows that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidegauge.baseline.baseline import Baseline
from tidegauge.errors import ReportError
from tidegauge.models.condition_text import condition_text
from tidegauge.models.default_monitors import default_monitors
from tidegauge.models.registry import Registry
from tidegauge.report import summary
from tidegauge.report.archive import Archive, alert_lives
from tidegauge.report.period import Period
from tidegauge.spec import MonitorSpec, segment_name

ALWAYS = Period(0.0, 253402300800.0)
"""All time up to the year 10000."""
MIN_LABELS = 200
"""A segment with fewer labels is listed among the limits instead of being judged."""
MIN_COVERAGE = 0.5
SHIFTED = 0.2
"""A feature is listed among the limits if its population stability index (PSI) is above this."""


def build_card(archive: Archive, registry: Registry, model: str, version: str | None) -> dict[str, Any]:
    """The card of ``version``; None means the version that served last. Raises ReportError if no window of it is known."""
    window = archive.longest()
    whole = [] if window is None else archive.windows(window, ALWAYS, segments=False)
    live = [record for record in whole if record["predictions"]]
    if version is None and live:
        version = max(live, key=lambda record: (record["window_start"], record["predictions"]))["model_version"]
    records = [record for record in live if record["model_version"] == version]
    if window is None or version is None or not records:
        versions = sorted({record["model_version"] for record in live})
        known = f"known versions: {', '.join(versions)}" if versions else f"known models: {', '.join(sorted(archive.models))}"
        raise ReportError(f"no window of {version or model} is known; {known}")
    segments = [r for r in archive.windows(window, ALWAYS, segments=True) if r["model_version"] == version]
    spec, baseline = registry.spec(model), registry.baseline(model, version)
    alerts = [life for life in alert_lives(archive.alerts, ALWAYS) if life["labels"].get("model_version", version) == version]
    card: dict[str, Any] = {
        "model": model,
        "model_version": version,
        "task": spec.task,
        "intended_use": spec.intended_use,
        "lineage": msgspec.to_builtins(registry.lineage(model, version)),
        "from": records[0]["window_start"],
        "to": max(record["window_end"] for record in records),
        "window": window,
        "traffic": summary.traffic(records),
        "performance": summary.performance(records),
        "segments": summary.segments(segments),
        "gaps": summary.gaps(records),
        "business": summary.business(records),
        "reference": _reference(baseline),
        "default_monitors": spec.monitors is None,
        "monitors": [_planned(monitor) for monitor in spec.monitors or default_monitors(spec, baseline)],
        "detectors": [msgspec.structs.asdict(detector) for detector in spec.detectors],
        "alerts": alerts,
    }
    return card | {"limits": limits(card, summary.features(records))}


def _reference(baseline: Baseline | None) -> dict[str, Any] | None:
    """The baseline as the card shows it; None without one."""
    if baseline is None:
        return None
    return {
        "source": baseline.source, "predictions": baseline.data.predictions, "labels": baseline.outcome.labels,
        "performance": summary.numbers(baseline.metrics.get("performance", {})),
    }  # fmt: skip


def limits(card: Mapping[str, Any], features: Sequence[Mapping[str, Any]]) -> list[str]:
    """The weaknesses of the model, or of what is known about it, that follow from the numbers: one sentence each."""
    found = []
    coverage = card["traffic"].get("coverage", 0.0)
    if coverage < MIN_COVERAGE:
        found.append(f"Only {coverage:.1%} of the predictions have a label: performance is that of those that have one.")
    if unreadable := card["traffic"].get("unreadable_labels"):
        found.append(f"{unreadable} labels are no numbers: performance is that of the others.")
    whole = card["performance"]
    for segment in card["segments"]:
        name = segment_name(segment["segment"])
        if segment["labels"] < MIN_LABELS:
            found.append(f"{name} has {segment['labels']} labels, too few to say how well the model does there.")
            continue
        found += [
            f"{metric} of {name} is {of['value']:.4g} ({of['low']:.4g} to {of['high']:.4g}), of all "
            f"{whole[metric]['value']:.4g}."
            for metric, of in segment["performance"].items()
            if metric in whole and _worse(metric, of, whole[metric]["value"])
        ]
    found += [
        f"{row['feature']} has moved away from the reference: PSI {row['psi']:.2g} in the window of {row['psi_window'][:10]}."
        for row in features
        if row.get("psi", 0.0) > SHIFTED
    ]
    if card["reference"] is None:
        found.append("There is no reference data: drift and performance are compared with nothing.")
    return found


_UPWARDS = ("roc_auc", "accuracy", "f1", "precision", "recall", "r2")


def _worse(metric: str, of: Mapping[str, Any], whole: float) -> bool:
    """Whether a segment's interval lies entirely on the worse side of ``whole``, the value of the whole model."""
    if "low" not in of or metric == "bias":
        return False
    return bool(of["high"] < whole if metric in _UPWARDS else of["low"] > whole)


def _planned(monitor: MonitorSpec) -> dict[str, Any]:
    return {
        "name": monitor.name, "metric": monitor.metric, "window": monitor.window, "severity": monitor.severity,
        "condition": condition_text(monitor.condition),
    }  # fmt: skip
