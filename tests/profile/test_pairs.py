"""Versions that answered the same requests, counted pair by pair: against a batch computation, in any order of events."""

import json
import random
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction, stream
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec


def pairs_of(events, spec=None, partitions=1, seed=None, chunk=10_000):
    """Sums of the pairs by (window, start, versions) after shuffling, chunking and partitioning the events."""
    rng = random.Random(seed)
    if seed is not None:
        events = [event for event in events for _ in range(1 + (rng.random() < 0.2))]
        rng.shuffle(events)
    pipeline = Pipeline(partitions=partitions) if spec is None else Pipeline(spec, partitions)
    for start in range(0, len(events), chunk):
        for topic in (PREDICTIONS, LABELS):
            pipeline.send(topic, [value for kind, value in events[start : start + chunk] if kind == topic])
        if rng.random() < 0.5:
            pipeline.checkpoint(rng.randrange(partitions))
    pipeline.finish()
    windows = pipeline.monitor.windows
    return {
        (header.window, header.start, header.version, other): windows.pairs(header, other)
        for header in windows.headers.values()
        for other in header.pairs
    }


@cache
def sums_in_order(seed):
    """Of the pairs of a stream as it is."""
    return {key: profile.sums for key, profile in pairs_of(stream(seed, count=120)).items()}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 10**6), partitions=st.integers(1, 4), chunk=st.integers(1, 200))
def test_any_interleaving_counts_the_same_pairs(seed, partitions, chunk):
    events = stream(seed % 5, count=120)
    expected = sums_in_order(seed % 5)
    assert expected
    assert {key: of.sums for key, of in pairs_of(events, None, partitions, seed, chunk).items()} == expected


def test_pairs_equal_a_batch_computation():
    rng = random.Random(3)
    events, rows = [], []
    for number in range(500):
        ts, label = START + rng.random() * 300, int(rng.random() < 0.4)
        first, second = rng.random(), rng.random()
        said = [int(first > 0.5), None if rng.random() < 0.1 else int(second > 0.4)]
        for version, score, value in (("churn_xgb:3", first, said[0]), ("churn_xgb:4", second, said[1])):
            event = prediction(number, ts, prediction=value, score=score, model_version=version)
            events.append((PREDICTIONS, json.dumps(event).encode()))
        for ago, sent in ((20, 1 - label), (10, label)):
            # The first word on each is wrong, and is corrected.
            message = {"request_id": f"r{number}", "ts": ts + 40 - ago, "label": sent}
            events.append((LABELS, json.dumps(message).encode()))
        rows.append((first, second, said, label))
    rng.shuffle(events)
    found = PairProfile()
    for (window, _, first, second), profile in pairs_of(events).items():
        assert (first, second) == ("churn_xgb:3", "churn_xgb:4")
        if window == "5m":
            found.merge(profile)
    assert found.requests == 500
    both = [(a, b, y) for _, _, (a, b), y in rows if b is not None]
    assert found.agreement == pytest.approx(np.mean([a == b for a, b, _ in both]), abs=1e-12)
    right = found.moments("right")
    assert right.count == len(both)
    assert right.first - right.products == sum(a == y != b for a, b, y in both)
    assert right.second - right.products == sum(b == y != a for a, b, y in both)
    brier = found.moments("brier")
    losses = np.array([((p - y) ** 2, (q - y) ** 2) for p, q, _, y in rows])
    assert (brier.count, brier.first, brier.second) == pytest.approx((500, *losses.sum(axis=0)), abs=1e-9)
    assert (brier.first_squares, brier.second_squares) == pytest.approx((losses**2).sum(axis=0), abs=1e-9)
    assert brier.products == pytest.approx(losses.prod(axis=1).sum(), abs=1e-9)
    log_loss = found.moments("log_loss")
    assert log_loss.first == pytest.approx(sum(-np.log(p if y else 1 - p) for p, _, _, y in rows), abs=1e-9)
    score = found.moments("score")
    assert score.products == pytest.approx(sum(p * q for p, q, _, _ in rows), abs=1e-9)


def test_a_regression_has_absolute_errors_and_a_multiclass_model_the_log_loss_of_its_probabilities():
    spec = ModelSpec("churn", task="regression", windows=("5m",))
    said = {"churn_xgb:3": 2.0, "churn_xgb:4": 5.0}
    label = [(LABELS, json.dumps({"request_id": "r1", "ts": START + 1, "label": 4}).encode())]
    events = [
        (PREDICTIONS, json.dumps(prediction(1, START, prediction=of, model_version=v)).encode()) for v, of in said.items()
    ]
    (profile,) = pairs_of([*events, *label], spec).values()
    absolute = profile.moments("absolute")
    assert (absolute.first, absolute.second, absolute.products) == (2.0, 1.0, 2.0)
    assert profile.moments("right") is None
    spec = ModelSpec("churn", task="multiclass", windows=("5m",))
    events = [
        (
            PREDICTIONS,
            json.dumps(prediction(1, START, prediction="a", model_version=v, probabilities={"a": p, "4": 1 - p})).encode(),
        )
        for v, p in {"churn_xgb:3": 0.5, "churn_xgb:4": 0.25}.items()
    ]
    (profile,) = pairs_of([*events, *label], spec).values()
    loss = profile.moments("class_log_loss")
    assert (loss.first, loss.second) == pytest.approx((-np.log(0.5), -np.log(0.75)))


def test_a_label_past_the_horizon_counts_no_pair():
    events = [
        (PREDICTIONS, json.dumps(prediction(1, START, prediction=1, score=0.8, model_version=v)).encode())
        for v in ("churn_xgb:3", "churn_xgb:4")
    ]
    late = (LABELS, json.dumps({"request_id": "r1", "ts": START + 8 * 86400, "label": 1}).encode())
    for profile in pairs_of([*events, late]).values():
        assert (profile.requests, profile.moments("right")) == (1, None)


def test_one_version_alone_makes_no_pairs():
    events = [event for event in stream(1, 100) if b"churn_xgb:4" not in event[1]]
    assert pairs_of(events) == {}
