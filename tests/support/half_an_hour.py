"""Half an hour of one model in which every monitor finds something, and the alerts that `replay` makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from support.events import START
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline import reference
from tidegauge.offline.replay import Files, Lines, Replay
from tidegauge.spec import Condition, ModelSpec, MonitorSpec

MINUTE = 60.0
MONITORS = (
    MonitorSpec("drift", "data.features.x.psi", "1m", Condition("above", high=0.3), min_count=30),
    MonitorSpec("accuracy", "performance.accuracy", "1m", Condition("below", low=0.7), min_count=20),
    MonitorSpec("label-feed", "label_feed.coverage_gap", "5m", Condition("above", high=0.2), min_count=100),
    MonitorSpec("missing", "data.features.x.missing_ratio", "1m", Condition("above", high=0.3), min_count=30),
)
SPEC = ModelSpec("churn", task="binary", windows=("1m", "5m"), grace=5.0, label_horizon=3600.0, monitors=MONITORS)
Events = list[tuple[float, str, bytes]]


def make(seed: int, minutes: int = 30, a_minute: int = 60) -> Events:
    """Half an hour: x drifts in minutes 8 and 9, is missing in 14, the model errs in 18 to 20, the label feed stops from 22 to
    25 and then catches up, with what it held back stamped when it is sent. Labels take 40 seconds, some are corrected."""
    rng = np.random.default_rng(seed)
    events: Events = []
    for number in range(minutes * a_minute):
        minute, ts = number // a_minute, START + MINUTE * number / a_minute + float(rng.uniform(0, 0.9))
        x = None if minute == 14 and rng.random() < 0.6 else float(rng.normal(3.0 * (minute in (8, 9))))
        event = {"request_id": f"r{number}", "ts": ts, "model": "churn", "model_version": "churn_xgb:3", "prediction": 1,
                 "score": 0.8, "features": {"x": x}}  # fmt: skip
        events.append((ts, PREDICTIONS, json.dumps(event).encode()))
        known = ts + float(rng.exponential(40.0))
        if START + 22 * MINUTE < known < START + 25 * MINUTE:
            known = START + 25 * MINUTE + float(rng.uniform(0, 20))
        right = rng.random() < (0.4 if minute in (18, 19, 20) else 0.9)
        label = {"request_id": f"r{number}", "ts": known, "label": int(right)}
        events.append((known, LABELS, json.dumps(label).encode()))
        if rng.random() < 0.1:
            later = known + float(rng.uniform(5, 100))
            events.append((later, LABELS, json.dumps(label | {"ts": later, "label": 1}).encode()))
    return sorted(events)


def watched(directory: Path) -> ModelRecord:
    """The model's spec and a baseline, made of reference data in ``directory``."""
    rng = np.random.default_rng(0)
    path = directory / "reference.jsonl"
    rows = [
        {"request_id": str(i), "ts": float(i), "model_version": "churn_xgb:3", "features": {"x": float(rng.normal())},
         "prediction": 1, "score": 0.8, "label": int(rng.random() < 0.9)}
        for i in range(2000)
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ModelRecord("churn", SPEC, {"churn_xgb:3": msgspec.Raw(reference.build(SPEC, "churn_xgb:3", path).to_json())})


def replayed_alerts(record: ModelRecord, events: Events, directory: Path) -> list[dict[str, Any]]:
    registry = Registry()
    registry.apply(b"churn", encode(record))
    files = Files(directory / "out")
    lines = {}
    for topic in (PREDICTIONS, LABELS):
        path = directory / topic
        path.write_bytes(b"".join(value + b"\n" for _, of, value in events if of == topic))
        lines[topic] = Lines(path)
    Replay(registry, files).run(lines[PREDICTIONS], lines[LABELS])
    files.close()
    return [json.loads(line) for line in (directory / "out" / "alerts.jsonl").read_text().splitlines()]


def transitions(alerts: list[dict[str, Any]], early: bool = False) -> list[tuple[str, ...]]:
    """What happened, when and about which window. An early verdict comes as soon as a chunk is read, so that only its
    window is the same however the input is chunked."""
    return sorted(
        (a["data"]["labels"]["alertname"], a["data"]["status"], a["data"]["window"]["start"], "" if early else a["time"])
        for a in alerts
        if (a["data"]["labels"]["alertname"] == "missing") == early
    )
