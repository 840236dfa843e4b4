"""An event with an ``error`` has no answer, whatever it carries: many services fill a failed inference with zeros."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, roc_auc_score

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.spec import ModelSpec

FILLED = [
    {},
    {"prediction": None, "score": None},
    {"prediction": 0, "score": 0.0},
    {"prediction": 1, "confidence": 1.0},
    {"prediction": "0", "probabilities": {"0": 1.0, "1": 0.0}, "attributions": {"x": 0.0}},
]
COUNT = 400


def record(filling, seed):
    """The record of a window in which every fifth inference failed, and the truth of the others: outcome, class and score."""
    rng = random.Random(seed)
    predictions, labels, truth = [], [], []
    for number in range(COUNT):
        score, features = round(rng.random(), 3), {"x": rng.random()}
        event = {"request_id": f"r{number}", "ts": START + number, "model_version": "m:1", "features": features}
        outcome = int(rng.random() < score)
        if number % 5 == 0:
            event |= {"error": "timeout", "latency_ms": 1000.0} | filling[number // 5 % len(filling)]
        else:
            event |= {"prediction": int(score > 0.5), "score": score, "latency_ms": 10.0, "attributions": {"x": score}}
            truth.append((outcome, int(score > 0.5), score))
        predictions.append(json.dumps(event).encode())
        labels.append(json.dumps({"request_id": f"r{number}", "ts": START + number + 60, "label": outcome}).encode())
    pipe = Pipeline(ModelSpec("m", task="binary", windows=("1h",)))
    pipe.send(PREDICTIONS, predictions)
    pipe.send(LABELS, labels)
    pipe.finish()
    (found,) = pipe.records().values()
    return found, truth


@settings(max_examples=15, deadline=None)
@given(filling=st.lists(st.sampled_from(FILLED), min_size=1), seed=st.integers(0, 1000))
def test_what_a_failed_inference_carries_as_its_answer_counts_nowhere(filling, seed):
    found, truth = record(filling, seed)
    without, _ = record([{}], seed)
    assert found == without
    outcomes, classes, scores = zip(*truth, strict=True)
    assert found["predictions"] == found["labels"] == COUNT
    assert found["system"]["error_ratio"] == 0.2
    assert found["data"]["features"]["x"]["count"] == COUNT
    assert found["prediction"]["abstain_ratio"] == 0.0
    assert found["prediction"]["mean_score"] == pytest.approx(sum(scores) / len(scores))
    assert found["performance"]["accuracy"] == pytest.approx(accuracy_score(outcomes, classes))
    assert found["performance"]["brier"] == pytest.approx(brier_score_loss(outcomes, scores))
    assert found["performance"]["roc_auc"] == pytest.approx(roc_auc_score(outcomes, scores), abs=1e-3)
    assert found["attributions"]["x"]["mean_abs"] == pytest.approx(sum(scores) / len(scores), rel=1e-6)
