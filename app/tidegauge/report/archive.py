"""The records that a report is built from: the newest revision of each window of one model, alerts, incidents and marks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tidegauge.alert.operations import Operations
from tidegauge.errors import ReportError
from tidegauge.incident.across_models import together
from tidegauge.incident.changes import Change, at_the_time, seen_in
from tidegauge.models.registry import Registry
from tidegauge.report.period import DAY, Period, moment
from tidegauge.report.recorded_changes import recorded_changes
from tidegauge.spec import duration

INCIDENTS_FILE, MARKS = "incidents.jsonl", "marks.jsonl"
"""Files in the output of `tidegauge replay` besides metrics and alerts; `tidegauge mark --replay` appends to the second."""
Record = dict[str, Any]


class _Head(msgspec.Struct, gc=False):
    """The members of a metrics record that tell whether it is wanted. Only comparison records have a ``kind``."""

    model: str
    window: str
    window_start: str
    model_version: str = ""
    segment: dict[str, str] = {}
    kind: str | None = None


class Archive:
    """What is known of ``model`` between ``since`` and ``until`` (Unix seconds): the newest revision of the metrics records of
    windows that start within, still encoded; the model's alert events in the order of publication; the newest event of each
    incident of any model (None if incidents were not read); the marks set by people; and the ``specs`` and baselines, which
    say where a version came from."""

    def __init__(self, model: str, since: float, until: float) -> None:
        self.model, self._since, self._until = model, since, until
        self._raw: dict[tuple[str, str, str, str], bytes] = {}
        self._lengths: dict[str, float] = {}
        self._head = msgspec.json.Decoder(_Head).decode
        self.alerts: list[dict[str, Any]] = []
        self.incidents: dict[str, dict[str, Any]] | None = None
        self.marks = Operations()
        self.specs = Registry()
        self.models: set[str] = set()

    def add_metric(self, value: bytes) -> None:
        """Take one record of the topic ``metrics``; a later record of the same window replaces an earlier one."""
        head = self._head(value)
        self.models.add(head.model)
        if head.kind is None and head.model == self.model and self._since <= moment(head.window_start) < self._until:
            segment = msgspec.json.encode(head.segment, order="sorted").decode()
            self._raw[head.model_version, head.window, segment, head.window_start] = value
            self._lengths.setdefault(head.window, duration(head.window))

    def add_alert(self, value: bytes) -> None:
        """Take one event of the topic ``alerts``."""
        event = msgspec.json.decode(value)
        if event["data"]["labels"].get("model") == self.model:
            self.alerts.append(event)

    def add_incident(self, value: bytes) -> None:
        """Take one event of the topic ``incidents``; a later event of the same incident replaces an earlier one."""
        event = msgspec.json.decode(value)
        held = self.incidents = self.incidents or {}
        held[event["data"]["incident"]] = event["data"]

    def add_mark(self, value: bytes) -> None:
        """Take one line of a file of marks."""
        self.marks.apply(b"mark/", value)

    def read(self, directory: Path) -> None:
        """Take the output of `tidegauge replay`; the files of incidents and marks may be missing. Raises ReportError if a file
        cannot be read."""
        files = [("metrics.jsonl", self.add_metric), ("alerts.jsonl", self.add_alert)]
        if (directory / INCIDENTS_FILE).is_file():
            self.incidents = {}
            files.append((INCIDENTS_FILE, self.add_incident))
        if (directory / MARKS).is_file():
            files.append((MARKS, self.add_mark))
        for name, add in files:
            path = directory / name
            try:
                with path.open("rb") as lines:
                    for number, line in enumerate(lines, 1):
                        try:
                            add(line)
                        except (msgspec.MsgspecError, KeyError, TypeError) as error:
                            raise ReportError(f"{path}, line {number}: this is no record of tidegauge's: {error}") from error
            except OSError as error:
                raise ReportError(
                    f"{path}: cannot be read: {error.strerror}; is it the output of `tidegauge replay`?"
                ) from error

    def longest(self) -> str | None:
        """The longest window length; None if there are no windows."""
        return max(self._lengths, key=self._lengths.__getitem__, default=None)

    def window(self, period: Period) -> str | None:
        """The longest window length that divides the period and has at least one record in it; None if there is none. The
        window of a day has no record until an event after that day has come."""
        there = {window for (_, window, _, start) in self._raw if period.start <= moment(start) < period.end}
        fitting = [
            (length, name)
            for name, length in self._lengths.items()
            if name in there and (period.end - period.start) % length == 0 and period.start % length == 0
        ]
        return max(fitting)[1] if fitting else None

    def windows(self, name: str, period: Period, *, segments: bool) -> list[Record]:
        """The records of windows of length ``name`` in the period, ordered by version and time: those of the whole model, or
        those of its segments."""
        found = [
            msgspec.json.decode(raw)
            for (_, window, segment, start), raw in self._raw.items()
            if window == name and (segment != "{}") == segments and period.start <= moment(start) < period.end
        ]
        return sorted(found, key=lambda record: (record["model_version"], record["window_start"]))


def incidents_in(archive: Archive, window: str, period: Period) -> list[dict[str, Any]] | None:
    """The model's incidents that overlap the period, open and severe ones first, each with the changes around its beginning;
    None if incidents were not read. ``window``: the window length of the records that new versions are found in."""
    if archive.incidents is None:
        return None
    own = {name: data for name, data in archive.incidents.items() if data["model"] == archive.model}
    also = {name: of.models for of in together(archive.incidents.values()) for name in of.incidents}
    began = {name: moment(data["starts_at"]) for name, data in own.items()}
    touching = [
        data
        for name, data in own.items()
        if began[name] < period.end and (data["ends_at"] is None or moment(data["ends_at"]) > period.start)
    ]
    first = min((moment(data["starts_at"]) for data in touching), default=period.start)
    changes = _changes(archive, window, Period(min(first, period.start) - DAY, period.end))
    touching.sort(key=lambda of: (of["status"] != "open", of["severity"] != "critical", of["starts_at"], of["incident"]))
    return [
        {
            "incident": data["incident"],
            "status": data["status"],
            "resolution": data.get("resolution"),
            "severity": data["severity"],
            "title": data["title"],
            "carried_by": data.get("carried_by", {}).get("text"),
            "starts_at": data["starts_at"],
            "ends_at": data["ends_at"],
            "cause": data["cause"]["alertname"],
            "concerns": data["concerns"],
            "for_whom": sorted({f"{of['model_version']} {of['segment'] or 'as a whole'}" for of in data["alerts"]}),
            "other_models": [model for model in also.get(data["incident"], ()) if model != data["model"]],
            "alerts": len(data["alerts"]),
            "changes": at_the_time(changes, data["model"], began[data["incident"]]),
            "runbook_url": data["runbook_url"],
        }
        for data in touching
    ]


def changes_in(archive: Archive, window: str, period: Period) -> list[dict[str, Any]]:
    """What changed in the period, the oldest first: new versions, other specs and baselines, marks. ``window``: as in
    ``incidents_in``."""
    found = _changes(archive, window, Period(period.start - DAY, period.end))
    own = (of for of in found if of.model in ("", archive.model) and period.start <= of.time < period.end)
    return [of.told() for of in sorted(own)]


def _changes(archive: Archive, window: str, period: Period) -> list[Change]:
    recorded = recorded_changes(archive.marks.marks.values(), archive.specs, archive.model)
    return seen_in(archive.windows(window, period, segments=False)) + recorded


def alert_lives(alerts: Iterable[dict[str, Any]], period: Period) -> list[dict[str, Any]]:
    """Each episode of an alert that overlaps the period: what the alert said when it fired, and when and how it ended."""
    open_: dict[str, dict[str, Any]] = {}
    found: list[dict[str, Any]] = []
    for event in alerts:
        data = event["data"]
        life = open_.get(data["fingerprint"])
        if life is None:
            life = open_[data["fingerprint"]] = {
                "alertname": data["labels"]["alertname"],
                "labels": data["labels"],
                "severity": data["severity"],
                "fired": event["time"],
                "starts_at": data["starts_at"],
                "ends_at": None,
                "metric": data["metric"],
                "resolved": None,
                "summary": data["annotations"]["summary"],
                "description": data["annotations"].get("description", ""),
                "runbook_url": data["annotations"].get("runbook_url"),
                "lineage": data.get("lineage", {}),
            }
            found.append(life)
        life["severity"] = max(life["severity"], data["severity"], key=("info", "warning", "critical").index)
        if data["status"] == "resolved":
            life["resolved"], life["ends_at"] = event["time"], data["ends_at"]
            life["resolution"] = data["annotations"].get("resolution", "over")
            del open_[data["fingerprint"]]

    def touches(life: dict[str, Any]) -> bool:
        began, ended = min(moment(life["fired"]), moment(life["starts_at"])), life["resolved"]
        return began < period.end and (ended is None or moment(ended) >= period.start)

    return [life for life in found if touches(life)]
