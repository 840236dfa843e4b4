"""tidegauge itself on a scenario, by the code that runs in production: `baseline build`, then both stages on JSON events."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams import Rows, Scenario
from tidegauge.alert.book import JudgedWindow
from tidegauge.alert.labels import Subject
from tidegauge.engine.stage import ALERTS, INCIDENTS, LABELS, METRICS, PREDICTIONS, PROFILES, MemoryStore, Output, Record
from tidegauge.join.stage import JoinStage
from tidegauge.judge.conditions import Verdict
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.monitor.stage import MonitorStage
from tidegauge.offline.reference import build
from tidegauge.spec import BaselineSpec, DetectorSpec, ModelSpec

MODEL, VERSION = "m", "m:1"
_encode = msgspec.json.encode


@dataclass
class Verdicts:
    """What tidegauge said, by window: ``breached`` monitor → window → paths; ``judged`` monitor → window → how many numbers;
    ``detections`` detector → event times; ``psi`` window → PSI of each feature;
    ``incidents`` id → the data of its newest event; ``carriers``: of each alert that fires and says so, what carries it;
    ``alerts``: of each event of an alert its name, status and window."""

    breached: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    judged: Counter[tuple[str, int]] = field(default_factory=Counter)
    detections: dict[str, list[float]] = field(default_factory=dict)
    psi: dict[int, list[float]] = field(default_factory=dict)
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)
    carriers: list[list[dict[str, Any]]] = field(default_factory=list)
    alerts: list[tuple[str, str, int]] = field(default_factory=list)

    def fired(self, monitors: tuple[str, ...], windows: int) -> NDArray[np.bool_]:
        """Whether any of these monitors was breached, by window (windows)."""
        out = np.zeros(windows, bool)
        for monitor in monitors:
            out[[w for w, paths in self.breached.get(monitor, {}).items() if paths]] = True
        return out


def spec_of(
    scenario: Scenario, *, seasonal: bool = False, learned: bool = False, detectors: tuple[DetectorSpec, ...] = ()
) -> ModelSpec:
    """The defaults, but for what the stream itself decides: its window, and which baseline. Open windows are judged once,
    not 24 times: closed ones are what is counted."""
    baseline = BaselineSpec(file="m.baseline.json")
    if seasonal:
        baseline = BaselineSpec(previous=7 * 86400.0)
    elif learned:
        baseline = BaselineSpec(first=scenario.reference * scenario.rows)
    return ModelSpec(MODEL, task="binary", windows=(scenario.window,), baseline=baseline, detectors=detectors,
                     retention=30 * 86400.0, grace=0.0, publish_interval=scenario.seconds)  # fmt: skip


def predictions(rows: Rows, first: int) -> list[dict[str, Any]]:
    """Prediction events; row i has request id ``first`` + i."""
    numbers = [f"x{i}" for i in range(rows.numbers.shape[1])]
    columns = [[None if v != v else v for v in column] for column in rows.numbers.T.tolist()]
    names = (*numbers, "c0", "c1")
    columns += [[f"v{code}" for code in column] for column in rows.categories.T.tolist()]
    return [
        {"request_id": str(first + i), "ts": ts, "model_version": VERSION, "prediction": int(score >= 0.5), "score": score,
         "features": dict(zip(names, values, strict=True))}
        for i, (ts, score, values) in enumerate(
            zip(rows.ts.tolist(), rows.score.tolist(), zip(*columns, strict=True), strict=True)
        )
    ]  # fmt: skip


def build_baseline(spec: ModelSpec, rows: Rows, labels: bool, file: Path) -> bytes:
    with file.open("wb") as lines:
        for event, label in zip(predictions(rows, 0), rows.label.tolist(), strict=True):
            lines.write(_encode(event | ({"label": label} if labels else {})) + b"\n")
    return build(spec, VERSION, file).to_json()


def run(scenario: Scenario, spec: ModelSpec, baseline: bytes | None, watched: Rows, learned: Rows | None = None) -> Verdicts:
    """Feed the watched rows window by window, after those that a baseline is to be ``learned`` from."""
    registry = Registry()
    held = {} if baseline is None else {"": msgspec.Raw(baseline)}
    registry.apply(MODEL.encode(), encode(ModelRecord(MODEL, spec, held)))
    counters: Counter[tuple[str, str]] = Counter()
    join = JoinStage(0, MemoryStore(), registry, 1, counters)
    monitor = MonitorStage(MemoryStore(), registry, 1, counters)
    verdicts = Verdicts()
    origin = scenario.reference
    listen(monitor, verdicts, scenario.seconds, origin)

    def take(outputs: list[Output]) -> None:
        for output in outputs:
            if output.topic == "models" and output.key is not None:
                registry.apply(output.key, output.value)
            elif output.topic == METRICS and output.value is not None:
                _note_psi(verdicts, json.loads(output.value), scenario.seconds, origin)
            elif output.topic == INCIDENTS and output.value is not None:
                incident = json.loads(output.value)["data"]
                verdicts.incidents[incident["incident"]] = incident
            elif output.topic == ALERTS and output.value is not None:
                said = json.loads(output.value)["data"]
                began = datetime.fromisoformat(said["window"]["start"]).timestamp()
                verdicts.alerts.append((said["labels"]["alertname"], said["status"], round(began / scenario.seconds) - origin))
                if said["status"] == "firing" and "carriers" in said["evidence"]:
                    verdicts.carriers.append(said["evidence"]["carriers"])

    parts = [
        rows.part(start, start + scenario.rows)
        for rows in (learned, watched)
        if rows is not None
        for start in range(0, len(rows.ts), scenario.rows)
    ]
    for w, part in enumerate(parts):
        start = w * scenario.rows
        join.process(PREDICTIONS, [Record(start + i, -1, None, _encode(e)) for i, e in enumerate(predictions(part, start))])
        if scenario.labels:
            labels = [
                Record(start + i, -1, None, _encode({"request_id": str(start + i), "ts": ts, "label": label}))
                for i, (ts, label) in enumerate(zip(part.ts.tolist(), part.label.tolist(), strict=True))
            ]
            join.process(LABELS, labels)
        deltas = [Record(0, -1, o.key, o.value) for o in join.checkpoint(0.0) if o.topic == PROFILES]
        monitor.process(PROFILES, deltas)
        take(monitor.checkpoint(0.0))
    take(monitor.finish())
    return verdicts


def listen(monitor: MonitorStage, verdicts: Verdicts, seconds: float, origin: int) -> None:
    """Note every verdict and detection on its way to the alerts: an alert that goes on firing says nothing anew."""
    book = monitor.alerts
    verdict, detection = book.verdict, book.detections.detection

    def on_verdict(subject: Subject, of: Verdict, judged: JudgedWindow, *rest: Any) -> list[Output]:
        place = round(judged.window.start / seconds) - origin
        if place < 0:
            return verdict(subject, of, judged, *rest)
        verdicts.judged[of.monitor.name, place] += 1
        paths = verdicts.breached.setdefault(of.monitor.name, {}).setdefault(place, set())
        (paths.add if of.breached else paths.discard)(of.path)
        return verdict(subject, of, judged, *rest)

    def on_detection(subject: Subject, detector: DetectorSpec, time: float, *rest: Any) -> list[Output]:
        verdicts.detections.setdefault(detector.name, []).append(time)
        return detection(subject, detector, time, *rest)

    book.verdict = on_verdict  # type: ignore[method-assign]
    book.detections.detection = on_detection  # type: ignore[method-assign]


def _note_psi(verdicts: Verdicts, record: dict[str, Any], seconds: float, origin: int) -> None:
    start = np.datetime64(record["window_start"].removesuffix("Z"), "ms").astype(int) / 1000
    features = record["data"]["features"].values()
    verdicts.psi[round(start / seconds) - origin] = [of["psi"] for of in features if "psi" in of]
