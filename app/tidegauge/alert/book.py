"""Verdicts and detections to alert events: labels, evidence, the sentence, its incident, and its state in the store."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

import msgspec

from tidegauge.alert.life_cycle import CONTENT_TYPE, AlertState, Transition, advance, cloud_event, fingerprint
from tidegauge.alert.playbooks import DIRECTORY, runbook_url
from tidegauge.baseline.tuning import budget_text
from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import ALERTS, Output, Store
from tidegauge.engine.traces import Traces
from tidegauge.incident.incident_book import IncidentBook
from tidegauge.judge.conditions import Verdict
from tidegauge.judge.evidence import NO_EVIDENCE
from tidegauge.metrics.record import Window, iso
from tidegauge.spec import ROLLOUT, DetectorSpec, MonitorSpec, segment_name

ALERT = b"a"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AlertState).decode
Support = Callable[[str], tuple[dict[str, Any], str]]
"""Evidence and a clause for the summary, of an alert that takes this status."""


class Subject(msgspec.Struct, frozen=True):
    """Whom an alert is about."""

    model: str
    version: str
    segment: Segment = ()


class AlertBook:
    """Every alert of one monitor task, kept in its store under ``a<fingerprint>``. ``playbooks``: the address below which
    the playbooks are that an alert points to where its spec names no runbook."""

    def __init__(self, store: Store, playbooks: str = DIRECTORY) -> None:
        self._store, self._playbooks, self.traces = store, playbooks, Traces(store)
        self.incidents = IncidentBook(store)
        self._states: dict[str, AlertState] = {key[1:].decode(): _decode(raw) for key, raw in store.scan(ALERT)}

    def firing(self) -> list[tuple[dict[str, str], str]]:
        """Labels and severity of the alerts now firing."""
        return [(s.data["labels"], s.severity) for s in self._states.values() if s.firing]

    def known(self) -> list[tuple[dict[str, str], str, bool]]:
        """Labels, severity and whether it is firing of every alert that ever fired."""
        return [(s.data["labels"], s.severity, s.firing) for s in self._states.values() if s.data]

    def verdict(
        self, subject: Subject, verdict: Verdict, window: Window, closed: bool, revision: int, time: float,
        support: Support, severity: str | None = None,
    ) -> list[Output]:  # fmt: skip
        """Move the verdict's alert on. ``time``: event time of the verdict; ``support`` is asked for evidence, and a
        clause for the summary, when the alert has something to say; ``severity`` None is the monitor's."""
        monitor = verdict.monitor
        severity = severity or monitor.severity
        labels = _labels(monitor.name, subject) | _part(monitor, verdict.path)
        mark = fingerprint(labels)
        state = self._states.get(mark)
        if state is None:
            if not verdict.breached:
                return []
            state = self._states[mark] = AlertState()
        before = _encode(state)
        transition = advance(state, verdict.breached, window, closed, severity, monitor.for_windows, monitor.keep_firing_for)
        output: list[Output] = []
        if transition is not None:
            evidence, clause = support(transition.status)
            data: dict[str, Any] = {
                "status": transition.status,
                "fingerprint": mark,
                "kind": verdict.kind,
                "severity": state.severity,
                "labels": labels,
                "annotations": {"summary": (verdict.words or _summary(subject, verdict, window, transition)) + clause},
                "starts_at": iso(state.starts_at),
                "ends_at": None if transition.status == "firing" else iso(max(window.start, state.starts_at)),
                "metric": verdict.path,
                "value": verdict.value,
                "condition": verdict.condition,
                "baseline": verdict.baseline,
                "window": {
                    "length": window.length, "start": iso(window.start), "end": iso(window.end), "revision": revision
                },
                "sample_size": verdict.sample_size,
                "p_value": verdict.p_value,
                "evidence": evidence,
            }  # fmt: skip
            if verdict.interval is not None:
                data["interval"] = verdict.interval
            output = self._publish(mark, state, transition, data, monitor.runbook, time)
        if _encode(state) != before:
            self._store.put(ALERT + mark.encode(), _encode(state))
        return output

    def state(self, subject: Subject, verdict: Verdict) -> AlertState | None:
        """How the verdict's alert stands; None if it never fired."""
        return self._states.get(fingerprint(_labels(verdict.monitor.name, subject) | _part(verdict.monitor, verdict.path)))

    def breached(self, subject: Subject, monitor: MonitorSpec) -> Mapping[float, bool]:
        """Starts of the windows a monitor of one number was breached in (→ whether they were closed)."""
        state = self._states.get(fingerprint(_labels(monitor.name, subject)))
        return state.breached if state is not None else {}

    def breached_features(self, subject: Subject, names: Container[str], start: float) -> list[str]:
        """Features for which the alerts of these names were breached in the window that began at ``start``."""
        wanted = _labels("", subject)
        return sorted(
            labels["feature"]
            for state in self._states.values()
            if start in state.breached and (labels := state.data.get("labels", {})).get("alertname") in names
            and "feature" in labels and all(labels[part] == wanted[part] for part in ("model", "model_version", "segment"))
        )  # fmt: skip

    def detection(
        self, subject: Subject, detector: DetectorSpec, time: float, found: Mapping[str, Any], quiet: float
    ) -> list[Output]:
        """A detector found a change at event ``time``; ``found`` has value and sample_size. One that fires stays so for
        ``quiet`` seconds: a detection later than that is another alert."""
        labels = _labels(detector.name, subject)
        mark = fingerprint(labels)
        state = self._states.setdefault(mark, AlertState())
        outputs = self._calmed(mark, state, detector, time, quiet)
        state.window = max(state.window, time)
        if not state.firing:
            state.firing, state.severity, state.starts_at = True, detector.severity, time
            state.sequence += 1
            transition = Transition("firing", state.sequence)
            value = found.get("value")
            level = "" if value is None else f", now at {value:.4g}"
            data = {
                "status": "firing",
                "fingerprint": mark,
                "kind": "detector",
                "severity": detector.severity,
                "labels": labels,
                "annotations": {
                    "summary": f"{subject.version}: {detector.algorithm} saw {detector.stream} change at {iso(time)}"
                    f"{level}; compare the windows before and after"
                },
                "starts_at": iso(time),
                "ends_at": None,
                "metric": detector.stream,
                "value": value,
                "condition": _condition(detector),
                "baseline": None,
                "window": None,
                "sample_size": found["sample_size"],
                "p_value": None,
                "evidence": NO_EVIDENCE,
            }
            outputs.extend(self._publish(mark, state, transition, data, detector.runbook, time))
        self._store.put(ALERT + mark.encode(), _encode(state))
        return outputs

    def calm(self, model: str, detector: DetectorSpec, time: float, quiet: float) -> list[Output]:
        """Resolve a detector's alerts after ``quiet`` seconds of event time without another detection."""
        outputs = []
        for mark, state in self._states.items():
            labels = state.data.get("labels", {}) if state.firing else {}
            named = (labels.get("model"), labels.get("alertname")) == (model, detector.name)
            if named and state.data["kind"] == "detector":
                outputs.extend(self._calmed(mark, state, detector, time, quiet))
        return outputs

    def _calmed(self, mark: str, state: AlertState, detector: DetectorSpec, time: float, quiet: float) -> list[Output]:
        """Resolve one detector's alert if it is due."""
        if not state.firing or time < state.window + quiet:
            return []
        state.firing = False
        state.sequence += 1
        ended = {"status": "resolved", "ends_at": iso(state.window + quiet)}
        version = state.data["labels"]["model_version"]
        summary = f"{version}: {detector.algorithm} has seen no further change of {detector.stream}"
        data = state.data | ended | {"annotations": {"summary": summary}}
        self._store.put(ALERT + mark.encode(), _encode(state))
        return self._publish(mark, state, Transition("resolved", state.sequence), data, detector.runbook, time)

    def _publish(
        self,
        mark: str,
        state: AlertState,
        transition: Transition,
        data: dict[str, Any],
        runbook: str | None,
        time: float,
    ) -> list[Output]:
        about = ROLLOUT if data["kind"] == ROLLOUT else data["metric"]
        traces = self.traces.of(data["evidence"]["request_ids"])
        if traces:
            found = [{"request_id": request_id, "traceparent": parent} for request_id, parent in traces.items()]
            data["evidence"] = data["evidence"] | {"traces": found}
        data["annotations"]["runbook_url"] = runbook or runbook_url(self._playbooks, about)
        if transition.resolution:
            data["annotations"]["resolution"] = transition.resolution
        data["incident"], told = self.incidents.observe(data, time)
        state.data = data
        return [Output(ALERTS, mark.encode(), cloud_event(mark, transition, data, time), headers=CONTENT_TYPE), *told]


def _condition(detector: DetectorSpec) -> str:
    against = f" against {detector.against}" if detector.against is not None else ""
    budget = f" (false alarms: {budget_text(detector.false_alarms)})" if detector.false_alarms is not None else ""
    return f"{detector.algorithm} detects a change{against}{budget}"


def _labels(name: str, subject: Subject) -> dict[str, str]:
    return {
        "alertname": name,
        "model": subject.model,
        "model_version": subject.version,
        "segment": segment_name(subject.segment),
    }


def _part(monitor: MonitorSpec, path: str) -> dict[str, str]:
    """The label that tells apart the numbers a ``*`` stands for."""
    if "*" not in monitor.metric:
        return {}
    head, tail = monitor.metric.split("*", 1)
    name = path[len(head) : len(path) - len(tail)] if tail.count("*") == 0 else path
    return {"feature" if path.startswith(("data.features.", "attributions.")) else "metric": name}


def _summary(subject: Subject, verdict: Verdict, window: Window, transition: Transition) -> str:
    what = verdict.path.removeprefix("data.features.").removeprefix("data.")
    where = f" for {segment_name(subject.segment)}" if subject.segment else ""
    value = ", ".join(verdict.names[:5]) if verdict.names else f"{verdict.value:.4g}"
    period = f"in the {window.length} window from {iso(window.start)}"
    if transition.status == "resolved":
        again = "restated: " if transition.resolution else ""
        return f"{subject.version}{where}: {again}{what} is {value or 'none'} {period}, no longer {verdict.condition}"
    return f"{subject.version}{where}: {what} is {value}, {verdict.condition}, {period} ({verdict.sample_size} samples)"
