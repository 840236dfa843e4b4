"""A model nobody has specified: what its learned baseline and the default monitors find."""

import json
import random

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, PREDICTIONS


def test_values_that_go_missing_are_found_without_a_spec():
    """The usual share of missing values is part of what was learned: more than that fires, that much does not."""
    rng = random.Random(4)
    pipeline = Pipeline(None)
    minutes = {number: START + number * 0.06 for number in range(12_000)}
    for first in range(0, 12_000, 1000):
        events = []
        for number in range(first, first + 1000):
            gone = number >= 9000
            features = {
                "age": None if rng.random() < (0.5 if gone else 0.2) else rng.gauss(40, 10),
                "income": None if rng.random() < 0.3 else rng.gauss(10, 1),
            }
            events.append(prediction(number, minutes[number], prediction=1, score=rng.random(), features=features))
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
        pipeline.checkpoint()
    pipeline.finish()
    fired = [alert["data"] for alert in pipeline.of(ALERTS) if alert["data"]["status"] == "firing"]
    missing = [data for data in fired if data["labels"]["alertname"] == "missing-values"]
    assert {data["labels"]["feature"] for data in missing} == {"age"}
    assert 0.17 < missing[0]["baseline"] < 0.23
    assert missing[0]["starts_at"] >= "2025-09-27T00:05:00Z"
