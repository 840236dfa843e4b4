"""Events for tests: a small stream of one model with everything that can happen to labels."""

from __future__ import annotations

import json
import random
from typing import Any

from tidegauge.engine.stage import LABELS, PREDICTIONS

START = 1_758_931_200.0


def prediction(number: int, ts: float, **members: Any) -> dict[str, Any]:
    return {"request_id": f"r{number}", "ts": ts, "model_version": "churn_xgb:3", "model": "churn"} | members


def stream(seed: int, count: int = 300, minutes: float = 10.0) -> list[tuple[str, bytes]]:
    """(topic, value) in time order: predictions of two versions, labels that are missing, repeated, corrected or early."""
    rng = random.Random(seed)
    events: list[tuple[float, str, dict[str, Any]]] = []
    for number in range(count):
        ts = START + rng.random() * minutes * 60
        score = rng.random()
        event = prediction(
            number, ts, prediction=int(score > 0.5), score=score, latency_ms=rng.expovariate(0.1),
            features={"age": rng.choice([None, rng.gauss(40, 10)]), "plan": rng.choice("abc")},
            segments={"region": rng.choice(["eu", "us"])},
        )  # fmt: skip
        events.append((ts, PREDICTIONS, event))
        if rng.random() < 0.2:
            events.append((ts, PREDICTIONS, event | {"model_version": "churn_xgb:4", "role": "shadow"}))
        if rng.random() < 0.8:
            known = ts + rng.expovariate(1 / 120)
            label = {"request_id": f"r{number}", "ts": known, "label": int(rng.random() < score)}
            if rng.random() < 0.3:
                label["business"] = {"revenue": round(rng.random() * 100, 2)}
            events.append((known, LABELS, label))
            if rng.random() < 0.15:
                later = known + 1 + rng.random() * 60
                events.append((later, LABELS, label | {"ts": later, "label": 1 - label["label"]}))
    events.sort(key=lambda event: event[0])
    return [(topic, json.dumps(event).encode()) for _, topic, event in events]
