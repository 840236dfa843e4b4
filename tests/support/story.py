"""Twelve days of a model in which known things happen, each on a known day."""

from __future__ import annotations

import json
import random

from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from tidegauge.alert import operations
from tidegauge.alert.operations import OPERATIONS, Mark
from tidegauge.engine.events import timestamp
from tidegauge.engine.stage import LABELS, MODELS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import BaselineSpec, Condition, MonitorSpec

FIRST_DAY, DAYS, A_DAY = timestamp("2025-04-28T00:00:00Z"), 12, 240
LATE, MISSING, FLIPPED, SLOW = 1, 8, 9, 5
"""Days, from 0 on: whose labels come late; from which ``age`` is missing, and labels of ``eu`` are wrong; that is slow."""
MONITORS = (
    MonitorSpec("missing", "data.features.*.missing_ratio", "1d", Condition("above", high=0.2), "critical",
                "docs/playbooks/missing-values.md", min_count=50),
    MonitorSpec("accuracy", "performance.accuracy", "1d", Condition("below", low=0.7), min_count=50),
    MonitorSpec("latency", "system.latency_ms.p95", "1d", Condition("above", high=200.0), min_count=50),
)  # fmt: skip
WATCHED = replace(SPEC, windows=("1d",), monitors=MONITORS, baseline=BaselineSpec(first=200))


def told() -> list[Output]:
    """What the stages say of it, and a mark of the day on which ``age`` went missing."""
    rng = random.Random(5)
    events: list[tuple[float, str, dict[str, object]]] = []
    for number in range(DAYS * A_DAY):
        day = number // A_DAY
        ts = FIRST_DAY + number * 86400 / A_DAY
        region, score = rng.choice(["eu", "us"]), rng.random()
        right = int(rng.random() < (0.95 if score > 0.5 else 0.05))
        event = {
            "request_id": f"r{number}", "ts": ts, "model": "churn", "model_version": "churn_xgb:3",
            "prediction": int(score > 0.5), "score": score, "segments": {"region": region},
            "latency_ms": rng.uniform(300, 400) if day == SLOW else rng.uniform(10, 50),
            "features": {"age": None if day >= MISSING else rng.gauss(40, 10), "plan": rng.choice("abc")},
        }  # fmt: skip
        events.append((ts, PREDICTIONS, event))
        events.append(
            (ts, PREDICTIONS, event | {"model_version": "churn_xgb:4", "role": "shadow", "prediction": int(score < 0.5),
                                       "score": 1 - score})
        )  # fmt: skip
        known = ts + (2 * 86400 if day == LATE else 600)
        label = 1 - right if day >= FLIPPED and region == "eu" else right
        events.append((known, LABELS, {"request_id": f"r{number}", "ts": known, "label": label}))
    pipeline = Pipeline(WATCHED)
    for place, (_, topic, of) in enumerate(sorted(events, key=lambda of: of[0])):
        pipeline.send(topic, [json.dumps(of).encode()])
        if place % 200 == 0:
            pipeline.checkpoint()
    pipeline.checkpoint()
    at = FIRST_DAY + MISSING * 86400 - 3600
    mark = Mark("m1", "release 2.3", at, "ann", at)
    spec = Output(MODELS, WATCHED.model.encode(), encode(ModelRecord(WATCHED.model, WATCHED)))
    return [spec, *pipeline.outputs, Output(OPERATIONS, mark.key, operations.encode(mark))]
