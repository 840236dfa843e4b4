"""Labels and predictions of a regression that are no numbers: counted, told, taken back when corrected."""

import json
import random

import pytest

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.spec import BaselineSpec, ModelSpec

SPEC = ModelSpec("m", task="regression", windows=("1h",), baseline=BaselineSpec(first=100_000))


def played(label, prediction=float, corrected=None, partitions=2, seed=1):
    pipe = Pipeline(SPEC, partitions)
    rng = random.Random(seed)
    events = []
    for number in range(800):
        ts, request = START + number * 8, {"request_id": f"r{number}"}
        value = rng.gauss(50, 10)
        events.append((ts, PREDICTIONS, request | {"ts": ts, "model_version": "m:1", "prediction": prediction(value)}))
        events.append((ts + 5, LABELS, request | {"ts": ts + 5, "label": label(value, number)}))
        if corrected is not None and number % 2:
            events.append((ts + 60, LABELS, request | {"ts": ts + 60, "label": corrected(value)}))
    events.sort(key=lambda of: of[0])
    pipe.play([(topic, json.dumps(event).encode()) for _, topic, event in events], 50, rng)
    return list(pipe.records().values()), [json.loads(o.value)["data"] for o in pipe.outputs if o.topic == ALERTS]


def test_labels_that_are_no_numbers_are_counted_and_told_once():
    records, alerts = played(lambda value, number: "n/a" if number % 10 == 0 else f"{value:.2f}")
    assert [(r["labels"], round(r["unreadable_label_ratio"], 9)) for r in records] == [(450, 0.1), (350, 0.1)]
    assert [r["performance_counts"]["mae"] for r in records] == [405, 315]
    (told,) = alerts
    assert (told["labels"]["alertname"], told["status"], told["sample_size"]) == ("unreadable-labels", "firing", 450)
    assert told["annotations"]["runbook_url"].endswith("unreadable-numbers.md")


@pytest.mark.parametrize("seed", range(3))
def test_a_correction_takes_it_back(seed):
    records, _ = played(lambda value, number: "n/a" if number % 2 else value, corrected=float, seed=seed)
    right, alerts = played(lambda value, number: value, seed=seed)
    for record, other in zip(records, right, strict=True):
        assert record["unreadable_label_ratio"] == 0
        assert record["performance"] == other["performance"]
        assert "performance_counts" not in record
    assert alerts == []


def test_predictions_that_are_no_numbers_do_not_wait_for_the_window_to_close():
    records, alerts = played(lambda value, number: value, prediction=lambda value: f"{value:.2f}".replace(".", ","))
    assert [r["prediction"]["type_mismatch_ratio"] for r in records] == [1.0, 1.0]
    assert all("performance" not in r for r in records)
    told = alerts[0]
    assert (told["labels"]["alertname"], told["status"]) == ("unreadable-predictions", "firing")
    assert told["window"]["revision"] == 0


def test_decimals_in_texts_are_numbers():
    records, alerts = played(lambda value, number: f"{value:.2f}", prediction=lambda value: f"{value:.2e}")
    assert [r["prediction"]["type_mismatch_ratio"] for r in records] == [0.0, 0.0]
    assert [r["unreadable_label_ratio"] for r in records] == [0.0, 0.0]
    assert alerts == []
