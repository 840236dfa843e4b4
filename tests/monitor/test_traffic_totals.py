"""Counters of what a version has served, against counts by hand, for any chunking."""

import json
import random
from collections import Counter

import pytest

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.monitor.traffic_totals import LATENCY_SECONDS


@pytest.mark.parametrize("partitions", [1, 3])
def test_predictions_errors_and_latencies_equal_counts_by_hand(partitions):
    rng = random.Random(1)
    events = []
    for number in range(2000):
        event = prediction(number, START + number, score=0.5, prediction=1, latency_ms=rng.choice([5.0, 250.0, 250.1, 20000.0]))
        if rng.random() < 0.1:
            event = prediction(number, START + number, error="no memory")
        events.append(event)
    pipeline = Pipeline(partitions=partitions)
    while events:
        chunk, events = events[:150], events[150:]
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in chunk])
        # Each twice: what is a duplicate is served once.
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in chunk[:20]])
        if rng.random() < 0.8:
            pipeline.checkpoint()
    pipeline.finish()
    rng = random.Random(1)
    latencies, errors = Counter(), 0
    for _ in range(2000):
        latency = rng.choice([5.0, 250.0, 250.1, 20000.0])
        if rng.random() < 0.1:
            errors += 1
        else:
            latencies[latency] += 1
    (served,) = pipeline.monitor.traffic.values()
    assert (served.predictions, served.errors, served.timed) == (2000, errors, 2000 - errors)
    assert served.seconds == pytest.approx(sum(ms * count for ms, count in latencies.items()) / 1000)
    for bound, count in zip(LATENCY_SECONDS, served.within, strict=True):
        exact = sum(n for ms, n in latencies.items() if ms <= bound * 1000)
        assert count == pytest.approx(exact, abs=0.0165 * 2000)
    values = list(served.buckets().values())
    assert values == sorted(values)
