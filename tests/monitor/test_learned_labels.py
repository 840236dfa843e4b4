"""A baseline that was learned gets the labels of the windows it was learned from, once these have settled: their performance is
what scikit-learn says, and a drop is found with no reference data but the stream."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.baseline.baseline import BLOCK
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.spec import ModelSpec

HOUR, AN_HOUR, FIRST = 3600.0, 300, 5000
SPEC = ModelSpec("churn", task="binary", label_horizon=86400.0, windows=("1h",), segments=(("region",),))
BEGIN = START - START % HOUR


def stream(seed: int, hours: int, broken_from: int) -> list[tuple[str, dict[str, Any]]]:
    """Predictions, and labels half an hour later on average, in time order; from an hour on, half of the labels are chance."""
    rng = random.Random(seed)
    events: list[tuple[str, dict[str, Any]]] = []
    for number in range(hours * AN_HOUR):
        ts = BEGIN + number * HOUR / AN_HOUR
        score = round(1 / (1 + math.exp(-rng.gauss(0, 1.5))), 4)
        truth = score if number < broken_from * AN_HOUR or rng.random() < 0.5 else 0.5
        event = prediction(
            number, ts, prediction=int(score > 0.5), score=score, features={"age": rng.gauss(40, 10)},
            segments={"region": rng.choice(["eu", "us"])},
        )  # fmt: skip
        events.append((PREDICTIONS, event))
        if rng.random() < 0.9:
            label = {"request_id": f"r{number}", "ts": ts + rng.expovariate(1 / 1800), "label": int(rng.random() < truth)}
            events.append((LABELS, label))
    return sorted(events, key=lambda event: event[1]["ts"])


def played(events: list[tuple[str, dict[str, Any]]], restarts: bool = False) -> Pipeline:
    pipeline = Pipeline(SPEC)
    for begin in range(0, len(events), 500):
        for topic in (PREDICTIONS, LABELS):
            pipeline.send(topic, [json.dumps(event).encode() for of, event in events[begin : begin + 500] if of == topic])
        pipeline.checkpoint()
        if restarts:
            pipeline.restart_monitor()
    pipeline.finish()
    return pipeline


@pytest.fixture(scope="module")
def dropped() -> tuple[list[tuple[str, dict[str, Any]]], Pipeline]:
    events = stream(3, 40, 28)
    return events, played(events)


def test_its_performance_is_that_of_its_own_windows(dropped):
    events, pipeline = dropped
    baseline = pipeline.registry.baseline("churn", "churn_xgb:3")
    assert baseline.source == "learned"
    made = {event["request_id"]: event for topic, event in events if topic == PREDICTIONS}
    # The windows with the first 5000 predictions, the last one whole.
    end = BEGIN + math.ceil(FIRST / AN_HOUR) * HOUR
    assert FIRST <= baseline.data.predictions < FIRST + 500
    for region, part in ((None, baseline), *((of, baseline.parts[(("region", of),)]) for of in ("eu", "us"))):
        known = [
            (made[event["request_id"]]["score"], event["label"])
            for topic, event in events
            if topic == LABELS
            and made[event["request_id"]]["ts"] < end
            and region in (None, made[event["request_id"]]["segments"]["region"])
        ]
        scores, labels = zip(*known, strict=True)
        # Labels of the last hours that came after the window had settled are not in it.
        assert 0.97 * len(known) <= part.outcome.labels <= len(known)
        assert part.metrics["performance"]["roc_auc"] == pytest.approx(roc_auc_score(labels, scores), abs=0.01)
        assert part.metrics["performance"]["brier"] == pytest.approx(brier_score_loss(labels, scores), abs=0.005)
    assert baseline.calibration is not None


def test_a_drop_is_found_without_reference_data(dropped):
    _, pipeline = dropped
    firing = [alert["data"] for alert in pipeline.of(ALERTS) if alert["data"]["status"] == "firing"]
    assert {alert["labels"]["alertname"] for alert in firing} == {"roc-auc", "brier"}
    assert min(alert["starts_at"] for alert in firing) >= "2025-09-28T"
    assert {alert["labels"]["segment"] for alert in firing} == {""}


def test_a_stage_that_starts_anew_while_labels_are_awaited_adds_them(dropped):
    events, pipeline = dropped
    again = played(events, restarts=True)
    # Edges of bins come from quantile sketches, which are random; what labels say is not.
    known, same = (of.registry.baseline("churn", "churn_xgb:3") for of in (pipeline, again))
    assert same.outcome.pack() == known.outcome.pack()
    assert same.metrics["performance"] == known.metrics["performance"]
    scores = [{path: of for path, of in one.spread[BLOCK].items() if path.startswith("performance")} for one in (known, same)]
    assert scores[0] == scores[1] != {}
    firings = [
        [(of["data"]["status"], of["data"]["starts_at"], of["data"]["value"]) for of in p.of(ALERTS)] for p in (pipeline, again)
    ]
    assert firings[0] == firings[1] != []
