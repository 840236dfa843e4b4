"""The join, from outside: what ends up in the metrics whatever happens to the events on their way."""

import json
import random
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.driver import SPEC, Pipeline, flatten, numbers
from support.events import START, prediction, stream
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, PREDICTIONS


def run(events, partitions=1, seed=None, chunk=10_000, duplicates=0.0):
    """The final records of ``events`` after shuffling, repeating, chunking and partitioning them."""
    rng = random.Random(seed)
    if seed is not None:
        events = [event for event in events for _ in range(1 + (rng.random() < duplicates))]
        rng.shuffle(events)
    pipeline = Pipeline(partitions=partitions)
    pipeline.play(events, chunk, rng)
    return {key: flatten(numbers(record)) for key, record in pipeline.records().items()}


@cache
def undisturbed(seed):
    """Events, and the final records of them as they are."""
    events = stream(seed, count=120)
    return events, run(events)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10**6),
    partitions=st.integers(1, 4),
    chunk=st.integers(1, 200),
    duplicates=st.floats(0, 0.5),
)
def test_any_interleaving_ends_in_the_same_metrics(seed, partitions, chunk, duplicates):
    # Fewer than 200 values a sketch: KLL is exact there, so that the numbers must agree to rounding.
    events, expected = undisturbed(seed % 5)
    found = run(events, partitions, seed, chunk, duplicates)
    assert found.keys() == expected.keys()
    for key, record in expected.items():
        for path, value in record.items():
            if isinstance(value, float):
                assert found[key][path] == pytest.approx(value, rel=1e-9, abs=1e-12), (key, path)
            else:
                assert found[key].get(path) == value, (key, path)


def test_records_equal_a_batch_computation():
    events = stream(1, count=300)
    predictions = {}
    labels = {}
    for topic, value in events:
        event = json.loads(value)
        if topic == PREDICTIONS:
            predictions.setdefault((event["request_id"], event["model_version"]), event)
        elif event["ts"] >= labels.get(event["request_id"], {"ts": 0})["ts"]:
            labels[event["request_id"]] = labels.get(event["request_id"], {}) | event
    found = Pipeline()
    for topic in (PREDICTIONS, LABELS):
        found.send(topic, [value for kind, value in events if kind == topic])
    found.finish()
    checked = 0
    for record in found.records().values():
        if record["window"] != "1m" or record["segment"]:
            continue
        start = START + 60 * ((json_time(record["window_start"]) - START) // 60)
        rows = [
            event
            for (_, version), event in predictions.items()
            if version == record["model_version"] and start <= event["ts"] < start + 60
        ]
        pairs = [(e["prediction"], labels[e["request_id"]]["label"]) for e in rows if e["request_id"] in labels]
        assert record["predictions"] == len(rows)
        assert record["labels"] == len(pairs)
        if pairs:
            assert record["performance"]["accuracy"] == pytest.approx(sum(p == y for p, y in pairs) / len(pairs), abs=1e-12)
        revenue = [
            labels[e["request_id"]]["business"]["revenue"] for e in rows if "business" in labels.get(e["request_id"], {})
        ]
        if revenue:
            assert record["business"]["revenue"]["sum"] == pytest.approx(sum(revenue), abs=1e-9)
        checked += 1
    assert checked > 15


def json_time(text):
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def one(events, spec=SPEC):
    """The final record of the whole model in the first minute, and the pipeline."""
    pipeline = Pipeline(spec)
    for topic, event in events:
        pipeline.send(topic, [json.dumps(event).encode()])
    pipeline.finish()
    records = [r for r in pipeline.records().values() if r["window"] == "1m" and not r["segment"]]
    return min(records, key=lambda r: r["window_start"]), pipeline


def label(number, ts, value, **members):
    return LABELS, {"request_id": f"r{number}", "ts": ts, "label": value, **members}


def predicted(number, ts=START, **members):
    return PREDICTIONS, prediction(number, ts, prediction=1, score=0.8, **members)


def test_a_correction_takes_the_old_outcome_back_exactly():
    wrong_then_right = [predicted(1), label(1, START + 5, 0, business={"revenue": 0.1}), label(1, START + 9, 1)]
    record, pipeline = one(wrong_then_right)
    clean, _ = one([predicted(1), label(1, START + 9, 1, business={"revenue": 0.1})])
    assert record["performance"] == clean["performance"]
    assert record["labels"] == 1
    assert record["business"] == clean["business"]
    assert pipeline.counters["corrected", LABELS] == 1


def test_an_older_label_that_comes_later_changes_nothing():
    record, _ = one([predicted(1), label(1, START + 9, 1), label(1, START + 5, 0)])
    assert record["performance"]["accuracy"] == 1.0


def test_a_label_before_its_prediction_waits():
    record, pipeline = one([label(1, START + 5, 1), predicted(1)])
    assert (record["labels"], record["performance"]["accuracy"]) == (1, 1.0)
    assert pipeline.joins[0].pending == 0


def test_a_label_serves_every_version():
    _, pipeline = one([predicted(1), predicted(1, model_version="churn_xgb:4"), label(1, START + 5, 1)])
    whole = [r for r in pipeline.records().values() if r["window"] == "1m" and not r["segment"]]
    assert {r["model_version"]: r["labels"] for r in whole} == {"churn_xgb:3": 1, "churn_xgb:4": 1}


def test_a_repeated_prediction_is_counted_once():
    record, pipeline = one([predicted(1), predicted(1)])
    assert record["predictions"] == 1
    assert pipeline.counters["duplicate", PREDICTIONS] == 1


def test_an_id_that_names_two_requests_is_told():
    record, pipeline = one([predicted(1), predicted(1, ts=START + 30), predicted(1, ts=START + 3600)])
    assert record["predictions"] == 1
    assert pipeline.counters["duplicate", PREDICTIONS] == 2
    assert pipeline.counters["reused_id", "churn"] == 1


def test_a_label_past_the_horizon_is_expired():
    record, pipeline = one([predicted(1), label(1, START + 8 * 86400, 1)])
    assert record["labels"] == 0
    assert pipeline.counters["expired", LABELS] == 1


def test_a_record_has_label_delay_and_coverage():
    record, _ = one([predicted(1), predicted(2), label(1, START + 100, 1)])
    assert record["coverage"] == 0.5
    assert record["label_delay_seconds"]["p50"] == pytest.approx(100, rel=0.04)


def test_closed_windows_are_restated_with_higher_revisions():
    pipeline = Pipeline()
    pipeline.send(*as_chunk(predicted(1)))
    pipeline.send(*as_chunk(predicted(2, START + 3600)))
    pipeline.checkpoint()
    pipeline.send(*as_chunk(label(1, START + 60, 0)))
    pipeline.send(*as_chunk(predicted(3, START + 7200)))
    pipeline.checkpoint()
    first = [r for r in pipeline.of("metrics") if r["window"] == "1m" and r["window_start"] == "2025-09-27T00:00:00Z"]
    assert [(r["revision"], r["labels"]) for r in first if not r["segment"]] == [(1, 0), (2, 1)]


def as_chunk(event):
    return event[0], [json.dumps(event[1]).encode()]


def test_an_unspecified_model_is_picked_up_and_learns_a_baseline():
    pipeline = Pipeline(spec=None)
    rng = random.Random(0)
    for number in range(6000):
        event = prediction(number, START + number / 20, prediction=number % 2, score=rng.random(), features={"x": rng.random()})
        pipeline.send(*as_chunk((PREDICTIONS, event)))
        if number % 500 == 0:
            pipeline.checkpoint()
    pipeline.finish()
    assert pipeline.registry.spec("churn").task == "binary"
    newest = max((r for r in pipeline.records().values() if r["window"] == "5m"), key=lambda r: r["window_start"])
    assert newest["data"]["features"]["x"]["psi"] < 0.2


def test_refused_records_go_to_the_dead_letters_with_their_reason():
    pipeline = Pipeline()
    bad = {
        b"{": "not_json",
        b"[1]": "not_an_object",
        b'{"ts": 1, "model_version": "a:1"}': "missing_member",
        b'{"request_id": "1", "ts": -1, "model_version": "a:1"}': "bad_timestamp",
        b'{"request_id": "1", "ts": 1, "model_version": "a:1", "features": []}': "wrong_type",
        b'{"request_id": "", "ts": 1, "model_version": "a:1"}': "bad_request_id",
    }
    pipeline.send(PREDICTIONS, list(bad))
    pipeline.finish()
    letters = [o for o in pipeline.outputs if o.topic == DEAD_LETTERS]
    assert {o.value: dict(o.headers)["reason"].decode() for o in letters} == bad
    assert {name for name, _ in letters[0].headers} >= {"reason", "topic", "partition", "offset"}
