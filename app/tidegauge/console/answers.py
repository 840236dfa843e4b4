"""The contents of the API's answers as plain data: each function answers one question from the view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.baseline import RESULT_BINS, Baseline
from tidegauge.console import health
from tidegauge.console.playbook_pages import playbook
from tidegauge.console.view import View
from tidegauge.console.window_series import Name, Series
from tidegauge.metrics.bin_counts import category_counts
from tidegauge.metrics.record import iso
from tidegauge.profile.category import CategorySummary
from tidegauge.profile.schema import CLASS_FEATURE, FIRST, RESERVED, Bins
from tidegauge.report.concerns import concern_of
from tidegauge.report.monitor_limits import monitor_limits, monitors_of
from tidegauge.report.recorded_changes import recorded_changes

WINDOWS_AT_ONCE = 5000
ALERTS_AT_ONCE = 10_000


def models(view: View, now: float) -> dict[str, Any]:
    firing = view.alerts.firing()
    return {"models": [health.summary(view, model, firing.get(model, ()), now) for model in view.models()]}


def model(view: View, name: str, now: float) -> dict[str, Any] | None:
    """A model's spec, versions, segments, monitors and lineage; None for an unknown model."""
    if name not in view.models():
        return None
    spec = view.registry.spec(name)
    versions: dict[str, dict[str, Any]] = {}
    for series in health.whole(view, name):
        starts = series.starts()
        held = {"window": series.name.window, "windows": len(starts), "first": starts[0], "last": starts[-1]}
        held |= {"dropped": series.dropped} if series.dropped else {}
        versions.setdefault(series.name.version, {"model_version": series.name.version, "windows": []})["windows"].append(held)
    segments = {
        s.segment: s.name.segment for s in view.windows.series(name) if isinstance(s.name, Name) and s.segment and s.raw
    }
    return health.summary(view, name, view.alerts.firing().get(name, ()), now) | {
        "spec": msgspec.to_builtins(spec),
        "monitors": [msgspec.to_builtins(monitor) for monitor in monitors_of(view.registry, name)],
        "default_monitors": spec.monitors is None,
        "lineage": msgspec.to_builtins(spec.lineage),
        "version_details": list(versions.values()),
        "segments": [{"name": segment, "segment": pairs} for segment, pairs in sorted(segments.items())],
        "marks": _marks(view, name),
        "baselines": [_baseline(view, name, version) for version in view.registry.baseline_versions(name)],
    }


def _marks(view: View, name: str) -> list[dict[str, Any]]:
    """What people marked, of this model or of all, and what changed of the model's spec and baselines."""
    own = [of for of in view.operations.marks.values() if of.model in ("", name)]
    said = [of.told() for of in recorded_changes(own, view.registry, name)]
    for mark, one in zip(own, said, strict=False):
        if mark.before:
            one |= {"version": mark.version, "before": mark.before}
    return said


def _baseline(view: View, name: str, version: str) -> dict[str, Any]:
    baseline = view.registry.baseline(name, version)
    if baseline is None:
        return {"model_version": version}
    return {
        "model_version": version or "all others",
        "source": baseline.source,
        "predictions": baseline.data.predictions,
        "labels": baseline.outcome.labels,
        "lineage": msgspec.to_builtins(view.registry.lineage(name, version)),
        "metrics": {part: of for part, of in baseline.metrics.items() if part not in ("data", "prediction")},
    }


def windows(
    series: Series, since: str, until: str, members: Iterable[str] = (), limit: int = WINDOWS_AT_ONCE
) -> bytes:  # fmt: skip
    """The newest ``limit`` metrics records, the oldest first, as JSON. With ``members``, each has only these members and those
    that identify its window."""
    starts = list(series.between(since, until))
    chosen = starts[-limit:] if limit else []
    raws: list[bytes] = [series.raw[start] for start in chosen]
    if members:
        kept = {"window_start", "window_end", "revision", "closed", "settled", "predictions", "labels", "coverage", *members}
        raws = [
            msgspec.json.encode({name: of for name, of in msgspec.json.decode(raw).items() if name in kept}) for raw in raws
        ]
    return b'{"records":[%s],"left_off":%d}' % (b",".join(raws), len(starts) - len(chosen))


def restatements(series: Series, since: str, until: str) -> dict[str, Any]:
    """The windows with more than one revision, each with all revisions that are held."""
    moved = []
    for start in series.between(since, until):
        if start in series.earlier:
            moved.append({"window_start": start, "revisions": msgspec.to_builtins(series.revisions(start))})
    return {"windows": moved}


def segments(view: View, name: str, version: str, window: str, start: str) -> bytes:
    """The records of one window as JSON: the whole model first, then each segment."""
    chosen = (s for s in view.windows.series(name) if (s.name.version, s.name.window) == (version, window) and start in s.raw)
    return b'{"records":[%s]}' % b",".join(s.raw[start] for s in sorted(chosen, key=lambda s: s.segment))


def comparisons(view: View, name: str) -> bytes:
    """The newest record of each comparison of a model's versions, as JSON."""
    newest = [s.raw[s.starts()[-1]] for s in view.windows.comparisons(name) if s.raw]
    return b'{"records":[%s]}' % b",".join(newest)


def limits(view: View, name: str, version: str, window: str) -> dict[str, Any]:
    """The limits that monitors of this window length apply: those on the numbers of the newest record, and those on numbers
    that only the record with the most predictions has, since a number that is missing now may have had limits before."""
    series = view.windows.find(name, version, window)
    if series is None or not series.raw:
        return {"limits": []}
    fullest = max(series.raw.values(), key=len)
    return {"limits": monitor_limits(view.registry, name, (msgspec.json.decode(fullest), series.newest() or {}))}


def distributions(view: View, name: str, version: str) -> dict[str, Any]:
    """The baseline's counts of each feature and of the score, in the same bins as ``bin_counts`` of a record."""
    baseline = view.registry.baseline(name, version)
    if baseline is None:
        return {"model_version": version, "features": {}}
    block, features = baseline.data.features, {}
    for feature, bins in baseline.schema.bins.items():
        row = block.index(feature)
        if not feature.startswith(RESERVED) and row is not None and block.bins is not None:
            features[feature] = _number(bins, block.bins[row])
    for feature, values in baseline.schema.values.items():
        summary = baseline.data.categories.get(feature)
        if not feature.startswith(RESERVED) and summary is not None:
            features[feature] = _category(summary, sorted(values))
    said = {"model_version": version, "source": baseline.source, "edges_id": baseline.schema.id, "features": features}
    prediction = _prediction(baseline)
    return said | ({"prediction": prediction} if prediction else {})


def _prediction(baseline: Baseline) -> dict[str, Any] | None:
    results = baseline.data.results
    for name, source in RESULT_BINS.items():
        row = results.index(source)
        if name in baseline.schema.bins and row is not None and results.bins is not None and results.count[row]:
            return _number(baseline.schema.bins[name], results.bins[row])
    values = baseline.schema.values.get(CLASS_FEATURE)
    return _category(baseline.data.result_class, sorted(values)) if values else None


def _number(bins: Bins, counts: NDArray[np.int64]) -> dict[str, Any]:
    """The bins of a numeric feature. ``own``: whether each bin between the edges holds a single value, its lower edge."""
    own = bins.own[FIRST:-1].tolist()
    return {"type": "number", "edges": bins.edges.tolist(), "own": own, "counts": counts[: bins.size].tolist()}


def _category(summary: CategorySummary, values: list[str]) -> dict[str, Any]:
    return {"type": "category", "values": values, "counts": category_counts(summary, values, summary.missing)}


def alerts(view: View, now: float, wanted: Mapping[str, str], limit: int) -> dict[str, Any]:
    """The newest event of each alert, the latest first; of more than ``limit``, firing ones before others. ``wanted``: values
    of ``status``, ``model`` and ``severity`` to filter by; ``total``: how many there are of these."""
    found = []
    for event in view.alerts.all():
        data = event["data"]
        has = {"status": data["status"], "severity": data["severity"], "model": data["labels"]["model"]}
        if all(has.get(name) == value for name, value in wanted.items() if value):
            found.append(event)
    total = len(found)
    if total > limit:
        found = sorted(found, key=lambda event: event["data"]["status"] != "firing")[:limit]
    said = [
        {"event": event, "concern": concern_of(event["data"]["metric"]), **health.attention(view, event["data"], now)}
        for event in found
    ]
    return {"alerts": said, "total": total}


def alert(view: View, fingerprint: str, now: float) -> dict[str, Any] | None:
    """An alert's history, evidence and playbook; None if the alert is unknown."""
    events = view.alerts.transitions(fingerprint)
    if not events:
        return None
    data = events[-1]["data"]
    said = {"event": events[-1], "transitions": events, "concern": concern_of(data["metric"])}
    said |= health.attention(view, data, now)
    page = playbook(data["annotations"].get("runbook_url", ""))
    return said | ({"playbook": page} if page else {})


def stream(view: View) -> dict[str, Any]:
    """Lag, throughput, watermarks, dead letters with samples, and the console's own use of memory."""
    progress, letters, memory = view.progress, view.letters, view.windows.memory
    standing = progress.standstills.seconds()
    return {
        "reachable": progress.reachable,
        "partitions": [
            msgspec.to_builtins(place)
            | {"lag": place.lag, "stands_still_seconds": standing.get(place.input, 0.0)}
            for place in progress.places
        ],
        "samples": [msgspec.to_builtins(sample) | {"at": iso(sample.at)} for sample in progress.samples],
        "watermarks": [
            {"model": said["model"]} | {name: iso(said[name]) for name in ("watermark", "prediction", "label") if said[name]}
            for said in progress.watermarks()
        ],
        "tasks": [
            {"partition": partition, "heard": iso(task.now), "idle": task.idle}
            for partition, task in sorted(progress.tasks.items())
        ],
        "misplaced": [
            {"topic": one.topic, "mistake": one.mistake, "records": one.records, "checked": one.checked, "text": one.text}
            for one in progress.misplaced
        ],
        "dead_letters": [
            {
                "reason": reason,
                "count": count,
                "samples": [msgspec.to_builtins(s) | {"at": iso(s.at)} for s in letters.samples(reason)],
            }
            for reason, count in letters.counts.most_common()
        ],
        "console": {
            "records": view.windows.records, "windows": memory.windows, "bytes": memory.size, "budget_bytes": memory.budget,
            "dropped": memory.dropped + view.alerts.dropped,
            "unreadable": memory.unreadable + view.alerts.unreadable + view.operations.unreadable,
            "read": round(view.read, 3), "problems": view.problems,
        },
    }  # fmt: skip


def silences(view: View, now: float) -> dict[str, Any]:
    """The silences that have not ended, ordered by their end."""
    held = sorted((s for s in view.operations.silences.values() if now < s.ends_at), key=lambda s: s.ends_at)
    return {
        "silences": [
            {
                "id": s.id, "matchers": s.matchers, "starts_at": iso(s.starts_at), "ends_at": iso(s.ends_at), "by": s.by,
                "at": iso(s.at), "comment": s.comment, "active": s.starts_at <= now,
            }
            for s in held
        ]
    }  # fmt: skip
