"""Turns verdicts into alerts: finds the alert that a verdict is about, updates it, and builds its event."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Set
from typing import Any, NamedTuple

from tidegauge.alert.announcing import Announcer, LineageOf
from tidegauge.alert.detections import DetectorAlerts
from tidegauge.alert.labels import Subject, labels_of, member_label
from tidegauge.alert.life_cycle import AlertState, Transition, advance, fingerprint
from tidegauge.alert.playbooks import DIRECTORY
from tidegauge.alert.quiet_versions import VersionSegment, resolve_quiet
from tidegauge.alert.states import AlertName, AlertStates, packed
from tidegauge.engine.stage import Output, Store
from tidegauge.engine.traces import Traces
from tidegauge.incident.incident_book import IncidentBook
from tidegauge.judge.conditions import Verdict
from tidegauge.judge.meaning import Ending, Symptom, counts_requests, sentence
from tidegauge.metrics.record import Window, iso
from tidegauge.spec import Lineage, MonitorSpec, segment_name


class AlertDetails(NamedTuple):
    """What an alert says besides its verdict: the evidence, and a clause appended to the figures."""

    evidence: dict[str, Any]
    clause: str = ""


SupportOf = Callable[[str], AlertDetails]
"""Computes the support of an alert that takes the given status; called only when the alert has an event to publish."""


class JudgedWindow(NamedTuple):
    """The window of a verdict, whether it is closed, the revision of its record, and the event time at which it was judged."""

    window: Window
    closed: bool
    revision: int
    time: float


class KnownAlert(NamedTuple):
    """An alert that has fired at least once."""

    labels: dict[str, str]
    severity: str
    firing: bool


class AlertBook:
    """All alerts of one monitor task, updated by verdicts. ``detections``: the alerts of detectors; ``playbooks`` and
    ``lineage_of``: as in Announcer."""

    def __init__(
        self, store: Store, playbooks: str = DIRECTORY, lineage_of: LineageOf = lambda model, version: Lineage()
    ) -> None:
        self.traces = Traces(store)
        self._states = AlertStates(store)
        self.incidents = IncidentBook(store)
        self._announcer = Announcer(self.traces, self.incidents, playbooks, lineage_of)
        self.detections = DetectorAlerts(self._states, self._announcer)

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from the evidence of alerts, and delete their traces."""
        self._states.forget_requests(request_ids)
        self.traces.forget(request_ids)

    def known(self) -> list[KnownAlert]:
        """All alerts that have ever fired."""
        return [KnownAlert(s.data["labels"], s.severity, s.firing) for s in self._states.values() if s.data]

    def fires(self, name: str, subject: Subject) -> bool:
        """Whether an alert of this name is firing for any segment of the subject's model version."""
        return self._states.fires(AlertName(name, subject.model, subject.version))

    def ever_breached(self, name: str, subject: Subject) -> bool:
        """Whether any verdict of this name on any segment of the subject's model version has ever been breached. Until then,
        verdicts that are not breached change nothing."""
        return self._states.may_know(AlertName(name, subject.model, subject.version))

    def verdict(
        self, subject: Subject, verdict: Verdict, judged: JudgedWindow, support_of: SupportOf, severity: str | None = None
    ) -> list[Output]:
        """Update the verdict's alert, and return its events. ``severity``: None means the monitor's own."""
        monitor, window = verdict.monitor, judged.window
        severity = severity or monitor.severity
        labels = labels_of(monitor.name, subject) | member_label(monitor, verdict.path)
        mark = fingerprint(labels)
        state = self._states.get(mark)
        if state is None:
            if not verdict.breached:
                return []
            state = AlertState()
        before = packed(state)
        keep_firing_for = 1 if verdict.recovered else monitor.keep_firing_for
        transition = advance(state, verdict.breached, window, judged.closed, severity, monitor.for_windows, keep_firing_for)
        output: list[Output] = []
        if transition is not None:
            support = support_of(transition.status)
            firing = transition.status == "firing"
            since = state.starts_at if firing else max(window.start, state.starts_at)
            symptom = _symptom(subject, verdict, open_window=firing and not judged.closed)
            data: dict[str, Any] = {
                "status": transition.status,
                "fingerprint": mark,
                "kind": verdict.kind,
                "severity": state.severity,
                "labels": labels,
                "annotations": {
                    "summary": sentence(symptom, _features(verdict, labels), since, _ending(transition)),
                    "description": (verdict.words or _figures(subject, verdict, window, transition)) + support.clause,
                },
                "starts_at": iso(state.starts_at),
                "ends_at": None if firing else iso(since),
                "metric": verdict.path,
                "value": verdict.value,
                "condition": verdict.condition,
                "baseline": verdict.baseline,
                "window": {
                    "length": window.length, "start": iso(window.start), "end": iso(window.end),
                    "revision": judged.revision,
                },
                "sample_size": verdict.sample_size,
                "p_value": verdict.p_value,
                "evidence": support.evidence,
            }  # fmt: skip
            if symptom.affected:
                data["affected"] = symptom.affected
            if verdict.interval is not None:
                data["interval"] = verdict.interval
            output = self._announcer.announce(state, transition, data, monitor.runbook, judged.time)
        if packed(state) != before:
            self._states.put(mark, state, AlertName(monitor.name, subject.model, subject.version))
        return output

    def resolve_quiet(self, model: str, last: Mapping[VersionSegment, float], now: float) -> list[Output]:
        """As ``quiet_versions.resolve_quiet``."""
        return resolve_quiet(self._states, self._announcer, model, last, now)

    def fires_any(self, model: str) -> bool:
        """Whether any alert of the model is firing."""
        return self._states.fires_any(model)

    def state(self, subject: Subject, verdict: Verdict) -> AlertState | None:
        """The state of the verdict's alert; None if it never fired."""
        return self._states.get(
            fingerprint(labels_of(verdict.monitor.name, subject) | member_label(verdict.monitor, verdict.path))
        )

    def breached(self, subject: Subject, monitor: MonitorSpec) -> Mapping[float, bool]:
        """The windows in which a monitor of a single number was breached: by start, whether the window was closed then."""
        state = self._states.get(fingerprint(labels_of(monitor.name, subject)))
        return state.breached if state is not None else {}

    def breached_features(self, subject: Subject, names: Container[str], start: float) -> list[str]:
        """The features for which alerts of these names were breached in the window that begins at ``start``."""
        wanted = labels_of("", subject)
        return sorted(
            labels["feature"]
            for state in self._states.values()
            if start in state.breached and (labels := state.data.get("labels", {})).get("alertname") in names
            and "feature" in labels and all(labels[part] == wanted[part] for part in ("model", "model_version", "segment"))
        )  # fmt: skip


def _symptom(subject: Subject, verdict: Verdict, *, open_window: bool) -> Symptom:
    """The symptom that a verdict describes; for an ``open_window`` it includes how many requests are affected so far."""
    affected = 0
    if open_window and counts_requests(verdict.path):
        affected = verdict.sample_size if verdict.names else round(verdict.value * verdict.sample_size)
    return Symptom(
        verdict.path, subject.version, segment_name(subject.segment), verdict.value, verdict.baseline, affected, verdict.kind
    )


def _features(verdict: Verdict, labels: Mapping[str, str]) -> list[str]:
    """The features a verdict is about."""
    return list(verdict.names) or [labels[name] for name in ("feature", "metric") if name in labels]


def _ending(transition: Transition) -> Ending:
    if transition.status == "firing":
        return ""
    return "after all" if transition.resolution else "again"


def _figures(subject: Subject, verdict: Verdict, window: Window, transition: Transition) -> str:
    what = verdict.path.removeprefix("data.features.").removeprefix("data.")
    where = f" for {segment_name(subject.segment)}" if subject.segment else ""
    value = ", ".join(verdict.names[:5]) if verdict.names else f"{verdict.value:.4g}"
    period = f"in the {window.length} window from {iso(window.start)}"
    if transition.status == "resolved":
        again = "restated: " if transition.resolution else ""
        return f"{subject.version}{where}: {again}{what} is {value or 'none'} {period}, no longer {verdict.condition}"
    return f"{subject.version}{where}: {what} is {value}, {verdict.condition}, {period} ({verdict.sample_size} samples)"
