"""Builds one report: its content as a JSON document, and what was restated since the previous report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidegauge.errors import ReportError
from tidegauge.metrics.record import iso
from tidegauge.report import summary
from tidegauge.report.archive import Archive, Record, alert_lives, changes_in, incidents_in
from tidegauge.report.concerns import CONCERNS, Span, concern_of, worst_between
from tidegauge.report.feature_history import feature_history
from tidegauge.report.monitor_limits import monitor_limits
from tidegauge.report.period import DAY, Period, moment

FORMAT = "tidegauge-report/1"
LEDGER_SECONDS = 35 * DAY
"""A report keeps the numbers of the windows of this many seconds, so that the next report can say what late labels changed."""


def since(period: Period) -> float:
    """The earliest window start that a report on the period needs."""
    return min(period.previous.start, period.start - LEDGER_SECONDS)


def build(archive: Archive, model: str, period: Period, earlier: Mapping[str, Any] | None) -> dict[str, Any]:
    """The report on ``model``. ``earlier``: the previous report, None if there is none.

    Raises ReportError if no windows of the model divide the period.
    """
    window = archive.window(period)
    whole = [] if window is None else archive.windows(window, period, segments=False)
    if window is None or not whole:
        known = f"known models: {', '.join(sorted(archive.models))}" if archive.models else "there are no records at all"
        raise ReportError(f"no window of {model} lies within {iso(period.start)} to {iso(period.end)}; {known}")
    before = archive.windows(window, period.previous, segments=False)
    parts = archive.windows(window, period, segments=True)
    lives = alert_lives(archive.alerts, period)
    ledger = _ledger(archive.windows(window, Period(since(period), period.end), segments=False))
    return {
        "format": FORMAT,
        "model": model,
        "from": iso(period.start),
        "to": iso(period.end),
        "previous_from": iso(period.previous.start),
        "window": window,
        "versions": [
            {"lineage": msgspec.to_builtins(archive.specs.lineage(model, version))}
            | _version(version, records, _of(before, version), _of(parts, version))
            | {"drift": _drift(archive, records)}
            for version, records in _by_version(whole)
        ],
        "incidents": incidents_in(archive, window, period),
        "alerts": lives,
        "health": _health(lives, whole),
        "marks": changes_in(archive, window, period),
        "restatements_since": None if earlier is None else earlier["to"],
        "restatements": [] if earlier is None else list(restatements(earlier["ledger"], ledger)),
        "ledger": ledger,
    }


def _by_version(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    """Records by model version, the version with the most predictions first."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["model_version"], []).append(record)
    return sorted(groups.items(), key=lambda item: -sum(record["predictions"] for record in item[1]))


def _of(records: Sequence[Record], version: str) -> list[Record]:
    return [record for record in records if record["model_version"] == version]


def _version(version: str, records: list[Record], before: list[Record], parts: list[Record]) -> dict[str, Any]:
    totals, earlier = _totals(records), _totals(before) if before else {}
    rows = summary.features(records)
    gone = {row["feature"]: row for row in summary.features(before)} if before else {}
    for row in rows:
        row["before"] = summary.numbers(gone.get(row["feature"], {}))
    return {
        "model_version": version,
        "compared_with": records[-1].get("compared_with", {}),
        **totals,
        "changes": [
            {"metric": of.path, "before": of.before, "now": of.now, "change": of.now - of.before}
            for of in summary.changes(totals, earlier)
        ],
        "features": rows,
        "missing_features": sorted({name for r in records for name in r["data"].get("missing_features", ())}),
        "unexpected_features": sorted({name for r in records for name in r["data"].get("unexpected_features", ())}),
        "segments": summary.segments(parts),
        "gaps": summary.gaps(records),
        "fairness": {r["window_start"]: r["fairness"] for r in records if "fairness" in r},
        "windows": [summary.line(record) for record in records],
    }


def _drift(archive: Archive, records: Sequence[Record]) -> dict[str, Any]:
    """The features of one version over time: in times their limits, or their shift where none is known."""
    known = archive.specs.known(archive.model)
    limits = monitor_limits(archive.specs, archive.model, records) if known else []
    windows = {record["window_start"]: msgspec.json.encode(record) for record in records}
    history = feature_history(windows, limits)
    return history if history["watched"] else feature_history(windows, limits, "shift")


def _health(lives: Sequence[Mapping[str, Any]], records: Sequence[Record]) -> dict[str, Any]:
    """The highest severity of each concern in each window; None where nothing was wrong. ``lives``: as ``alert_lives`` returns
    them; ``records``: of the windows of all versions."""
    windows = sorted({(moment(record["window_start"]), record["window_start"]) for record in records})
    last = max((record["window_end"] for record in records), key=moment)
    spans = [
        Span(concern_of(life["metric"]), life["severity"], life["starts_at"], life["ends_at"])
        for life in lives
        if life.get("resolution") != "restated"
    ]
    starts = [start for _, start in windows]
    found = {of: worst_between([span for span in spans if span.concern == of], [*starts, last]) for of in CONCERNS}
    return {"windows": starts, "end": last, "concerns": found}


def _totals(records: list[Record]) -> dict[str, Any]:
    return {
        "traffic": summary.traffic(records),
        "prediction": summary.prediction(records),
        "performance": summary.performance(records),
        "business": summary.business(records),
    }


def _ledger(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The current numbers of each window, with which a later report compares its own."""
    return [
        {
            "model_version": record["model_version"],
            "window_start": record["window_start"],
            "revision": record["revision"],
            "labels": record["labels"],
            "performance": summary.numbers(record.get("performance", {})),
            "business": {kpi: of["mean"] for kpi, of in record.get("business", {}).items() if "mean" in of},
        }
        for record in records
    ]


def restatements(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The windows that are in both ledgers with different revisions, each with the numbers that changed."""
    known = {(entry["model_version"], entry["window_start"]): entry for entry in before}
    for entry in now:
        was = known.get((entry["model_version"], entry["window_start"]))
        if was is not None and entry["revision"] > was["revision"]:
            yield {
                "model_version": entry["model_version"],
                "window_start": entry["window_start"],
                "revision": [was["revision"], entry["revision"]],
                "labels": [was["labels"], entry["labels"]],
                "changes": {
                    of.path: [of.before, of.now]
                    for group in ("performance", "business")
                    for of in summary.changes(entry[group], was[group], f"{group}.")
                },
            }


def earlier_report(directory: Path, model: str, period: Period) -> dict[str, Any] | None:
    """The report in ``directory`` on the model's latest period that began before this one and ended no later.

    Raises ReportError if a JSON file of the directory cannot be read.
    """
    found: list[tuple[float, dict[str, Any]]] = []
    for path in directory.glob("*.json"):
        try:
            report = msgspec.json.decode(path.read_bytes())
        except (OSError, msgspec.MsgspecError) as error:
            raise ReportError(f"{path}: cannot be read as a report: {error}; move it out of the way") from error
        if isinstance(report, dict) and report.get("format") == FORMAT and report["model"] == model:
            ended = moment(report["to"])
            if ended <= period.end and moment(report["from"]) < period.start:
                found.append((ended, report))
    return max(found, key=lambda item: item[0])[1] if found else None
