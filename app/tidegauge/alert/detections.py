"""Turns detected changes into alerts: an alert fires when a change is detected, and resolves after a time without another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tidegauge.alert.announcing import Announcer
from tidegauge.alert.labels import Subject, labels_of
from tidegauge.alert.life_cycle import AlertState, Transition, fingerprint
from tidegauge.alert.states import AlertStates
from tidegauge.baseline.tuning import budget_text
from tidegauge.engine.stage import Output
from tidegauge.judge.evidence import NO_EVIDENCE
from tidegauge.judge.meaning import Symptom, sentence
from tidegauge.metrics.record import iso
from tidegauge.spec import DetectorSpec


class DetectorAlerts:
    """The alerts of one monitor task's detectors. ``states`` also holds the alerts of monitors."""

    def __init__(self, states: AlertStates, announcer: Announcer) -> None:
        self._states, self._announcer = states, announcer

    def detection(
        self, subject: Subject, detector: DetectorSpec, time: float, found: Mapping[str, Any], quiet: float
    ) -> list[Output]:
        """Take in a change that a detector found at event ``time``; ``found`` has the members value and sample_size. The alert
        keeps firing until ``quiet`` seconds have passed without another detection; one after that fires anew."""
        labels = labels_of(detector.name, subject)
        mark = fingerprint(labels)
        state = self._states.get_or_new(mark)
        outputs = self._resolve_one_if_quiet(mark, state, detector, time, quiet)
        state.window = max(state.window, time)
        if not state.firing:
            state.firing, state.severity, state.starts_at = True, detector.severity, time
            state.sequence += 1
            transition = Transition("firing", state.sequence)
            value = found.get("value")
            level = "" if value is None or not math.isfinite(value) else f", now at {value:.4g}"
            data = {
                "status": "firing",
                "fingerprint": mark,
                "kind": "detector",
                "severity": detector.severity,
                "labels": labels,
                "annotations": {
                    "summary": sentence(_symptom(subject.version, detector, value), (), time),
                    "description": f"{subject.version}: {detector.algorithm} saw {detector.stream} change at {iso(time)}"
                    f"{level}; compare the windows before and after",
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
            outputs.extend(self._announcer.announce(state, transition, data, detector.runbook, time))
        self._states.put(mark, state)
        return outputs

    def resolve_if_quiet(self, model: str, detector: DetectorSpec, time: float, quiet: float) -> list[Output]:
        """Resolve a detector's alerts after ``quiet`` seconds of event time without another detection."""
        outputs = []
        for mark, state in self._states.items():
            labels = state.data.get("labels", {}) if state.firing else {}
            named = (labels.get("model"), labels.get("alertname")) == (model, detector.name)
            if named and state.data["kind"] == "detector":
                outputs.extend(self._resolve_one_if_quiet(mark, state, detector, time, quiet))
        return outputs

    def _resolve_one_if_quiet(
        self, mark: str, state: AlertState, detector: DetectorSpec, time: float, quiet: float
    ) -> list[Output]:
        """Resolve one detector's alert if it is due."""
        if not state.firing or time < state.window + quiet:
            return []
        state.firing = False
        state.sequence += 1
        ended = {"status": "resolved", "ends_at": iso(state.window + quiet)}
        version = state.data["labels"]["model_version"]
        annotations = {
            "summary": sentence(_symptom(version, detector, None), (), state.window, "again"),
            "description": f"{version}: {detector.algorithm} has seen no further change of {detector.stream}",
        }
        data = state.data | ended | {"annotations": annotations}
        outputs = self._announcer.announce(state, Transition("resolved", state.sequence), data, detector.runbook, time)
        self._states.put(mark, state)
        return outputs


def _symptom(version: str, detector: DetectorSpec, value: float | None) -> Symptom:
    return Symptom(detector.stream, version, value=value, kind="detector")


def _condition(detector: DetectorSpec) -> str:
    against = f" against {detector.against}" if detector.against is not None else ""
    budget = f" (false alarms: {budget_text(detector.false_alarms)})" if detector.false_alarms is not None else ""
    return f"{detector.algorithm} detects a change{against}{budget}"
