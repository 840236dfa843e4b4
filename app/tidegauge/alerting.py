"""Verdicts and detections to alert events: labels, evidence, the sentence, and each alert's state in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidegauge.alerts import CONTENT_TYPE, AlertState, Transition, advance, cloud_event, fingerprint
from tidegauge.delta import Segment
from tidegauge.metrics.record import Window, iso
from tidegauge.monitors import Verdict
from tidegauge.spec import DetectorSpec, MonitorSpec, segment_name
from tidegauge.stage import ALERTS, Output, Store

ALERT = b"a"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AlertState).decode
MAX_EVIDENCE = 5
NO_EVIDENCE: dict[str, list[Any]] = {"segments": [], "features": [], "request_ids": []}


class Subject(msgspec.Struct, frozen=True):
    """Whom an alert is about."""

    model: str
    version: str
    segment: Segment = ()


class AlertBook:
    """Every alert of one monitor task, kept in its store under ``a<fingerprint>``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[str, AlertState] = {key[1:].decode(): _decode(raw) for key, raw in store.scan(ALERT)}

    def firing(self) -> list[tuple[dict[str, str], str]]:
        """Labels and severity of the alerts now firing."""
        return [(s.data["labels"], s.severity) for s in self._states.values() if s.firing]

    def known(self) -> list[tuple[dict[str, str], str, bool]]:
        """Labels, severity and whether it is firing of every alert that ever fired."""
        return [(s.data["labels"], s.severity, s.firing) for s in self._states.values() if s.data]

    def verdict(
        self, subject: Subject, verdict: Verdict, window: Window, closed: bool, revision: int, time: float,
        evidence: dict[str, Any],
    ) -> list[Output]:  # fmt: skip
        """Move the verdict's alert on. ``time``: event time of the verdict."""
        monitor = verdict.monitor
        labels = _labels(monitor.name, subject) | _part(monitor, verdict.path)
        mark = fingerprint(labels)
        state = self._states.get(mark)
        if state is None:
            if not verdict.breached:
                return []
            state = self._states[mark] = AlertState()
        before = _encode(state)
        transition = advance(state, verdict.breached, window, closed, monitor.severity, monitor.for_windows)
        output: list[Output] = []
        if transition is not None:
            data = {
                "status": transition.status,
                "fingerprint": mark,
                "kind": "monitor",
                "severity": monitor.severity,
                "labels": labels,
                "annotations": {"summary": _summary(subject, verdict, window, transition)},
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
            output = [self._publish(mark, state, transition, data, monitor.runbook, time)]
        if _encode(state) != before:
            self._store.put(ALERT + mark.encode(), _encode(state))
        return output

    def detection(self, subject: Subject, detector: DetectorSpec, time: float, found: Mapping[str, Any]) -> list[Output]:
        """A detector found a change at event ``time``; ``found`` has value and sample_size. One that fires stays so."""
        labels = _labels(detector.name, subject)
        mark = fingerprint(labels)
        state = self._states.setdefault(mark, AlertState())
        state.window = max(state.window, time)
        outputs = []
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
                "condition": f"{detector.algorithm} detects a change",
                "baseline": None,
                "window": None,
                "sample_size": found["sample_size"],
                "p_value": None,
                "evidence": NO_EVIDENCE,
            }
            outputs.append(self._publish(mark, state, transition, data, detector.runbook, time))
        self._store.put(ALERT + mark.encode(), _encode(state))
        return outputs

    def calm(self, model: str, detector: DetectorSpec, time: float, quiet: float) -> list[Output]:
        """Resolve a detector's alerts after ``quiet`` seconds of event time without another detection."""
        outputs = []
        for mark, state in self._states.items():
            if not state.firing or time < state.window + quiet:
                continue
            labels = state.data["labels"]
            if state.data["kind"] != "detector" or (labels["model"], labels["alertname"]) != (model, detector.name):
                continue
            state.firing = False
            state.sequence += 1
            ended = {"status": "resolved", "ends_at": iso(state.window + quiet)}
            calm = f"{labels['model_version']}: {detector.algorithm} has seen no further change of {detector.stream}"
            data = state.data | ended | {"annotations": {"summary": calm}}
            outputs.append(self._publish(mark, state, Transition("resolved", state.sequence), data, detector.runbook, time))
            self._store.put(ALERT + mark.encode(), _encode(state))
        return outputs

    def _publish(
        self,
        mark: str,
        state: AlertState,
        transition: Transition,
        data: dict[str, Any],
        runbook: str | None,
        time: float,
    ) -> Output:
        if runbook:
            data["annotations"]["runbook_url"] = runbook
        if transition.resolution:
            data["annotations"]["resolution"] = transition.resolution
        state.data = data
        return Output(ALERTS, mark.encode(), cloud_event(mark, transition, data, time), headers=CONTENT_TYPE)


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
    return {"feature" if path.startswith("data.features.") else "metric": name}


def _summary(subject: Subject, verdict: Verdict, window: Window, transition: Transition) -> str:
    what = verdict.path.removeprefix("data.features.").removeprefix("data.")
    where = f" for {segment_name(subject.segment)}" if subject.segment else ""
    value = ", ".join(verdict.names[:5]) if verdict.names else f"{verdict.value:.4g}"
    period = f"in the {window.length} window from {iso(window.start)}"
    if transition.status == "resolved":
        again = "restated: " if transition.resolution else ""
        return f"{subject.version}{where}: {again}{what} is {value or 'none'} {period}, no longer {verdict.condition}"
    return f"{subject.version}{where}: {what} is {value}, {verdict.condition}, {period} ({verdict.sample_size} samples)"


def evidence(
    record: Mapping[str, Any], verdict: Verdict, parts: Sequence[tuple[Segment, Mapping[str, Any]]],
    examples: Mapping[str, Sequence[str]],
) -> dict[str, Any]:  # fmt: skip
    """What supports a verdict: each segment's own value and share of the predictions, worst first; the features that
    drifted most; request ids of the kind the metric is about."""
    features = record.get("data", {}).get("features", {})
    drifted = sorted(((of["psi"], name) for name, of in features.items() if "psi" in of), reverse=True)
    own = list(verdict.names) or [name for name in features if verdict.path.startswith(f"data.features.{name}.")]
    ranked = [{"feature": name} | _psi(features.get(name, {})) for name in own]
    ranked += [{"feature": name, "psi": psi} for psi, name in drifted if name not in own]
    total = record.get("predictions") or 0
    return {
        "segments": [{"segment": dict(segment), **of, "share": of["share"] / total if total else 0.0} for segment, of in parts][
            :MAX_EVIDENCE
        ],
        "features": ranked[:MAX_EVIDENCE],
        "request_ids": list(examples.get(verdict.path, ()))[:MAX_EVIDENCE],
    }


def _psi(feature: Mapping[str, Any]) -> dict[str, float]:
    return {"psi": feature["psi"]} if "psi" in feature else {}
