"""Labels, KPIs, repeats, corrections and late words in any order end in what a plain batch computation says."""

import json
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import ModelSpec

HORIZON = 1000.0
SPECS = [ModelSpec(model, task="binary", windows=("1h",), label_horizon=HORIZON, retention=1e9) for model in ("churn", "fraud")]


def run(events, order=None, chunk=1000, partitions=1):
    pipeline = Pipeline(SPECS[0], partitions)
    pipeline.registry.apply(b"fraud", encode(ModelRecord("fraud", SPECS[1])))
    rng = random.Random(order)
    events = [(topic, json.dumps(event).encode()) for topic, event in events]
    if order is not None:
        rng.shuffle(events)
    pipeline.play(events, chunk, rng)
    return pipeline


def whole(pipeline):
    return {(r["model"], r["model_version"]): r for r in pipeline.records().values() if not r["segment"]}


def oracle(events):
    """Per (model, version): labels, right ones, KPIs (sum and count), delays."""
    found = {}
    words = sorted((event for topic, event in events if topic == LABELS), key=lambda event: event["ts"])
    for topic, made in events:
        if topic != PREDICTIONS:
            continue
        of = found.setdefault((made["model"], made["model_version"]), Counter())
        heard = [
            w for w in words
            if w["request_id"] == made["request_id"]
            and w.get("model") in (None, made["model"])
            and w["ts"] <= made["ts"] + HORIZON
        ]  # fmt: skip
        labels = [w["label"] for w in heard if "label" in w]
        of["predictions"] += 1
        if labels:
            of["labels"] += 1
            of["right"] += labels[-1] == made["prediction"]
        for kpi in ("clicks", "revenue"):
            values = [w["business"][kpi] for w in heard if kpi in w.get("business", {})]
            if values:
                of[kpi, "count"] += 1
                of[kpi, "sum"] += values[-1]
    return found


def assert_as_computed(pipeline, events):
    records = whole(pipeline)
    for name, expected in oracle(events).items():
        record = records[name]
        assert record["predictions"] == expected["predictions"]
        assert record["labels"] == expected["labels"], name
        if expected["labels"]:
            assert record["performance"]["accuracy"] == pytest.approx(expected["right"] / expected["labels"], abs=1e-12)
        for kpi in ("clicks", "revenue"):
            given_kpi = record.get("business", {}).get(kpi, {"count": 0, "sum": 0})
            assert given_kpi["count"] == expected[kpi, "count"], (name, kpi)
            assert given_kpi["sum"] == pytest.approx(expected[kpi, "sum"], abs=1e-9)


def prediction(number, model="churn", version="1", value=1, ts=START + 100.0):
    return PREDICTIONS, {
        "request_id": f"r{number}", "ts": ts, "model": model, "model_version": f"{model}:{version}", "prediction": value,
        "score": 0.75,
    }  # fmt: skip


def label(number, after, value=None, **members):
    said = {"request_id": f"r{number}", "ts": START + 100.0 + after, **members}
    return LABELS, said if value is None else said | {"label": value}


@st.composite
def histories(draw):
    events, moment = [], 0
    for number in range(draw(st.integers(1, 3))):
        for model, version in draw(st.sets(st.sampled_from([("churn", "1"), ("churn", "2"), ("fraud", "1")]), min_size=1)):
            events.append(prediction(number, model, version, draw(st.integers(0, 1))))
        for _ in range(draw(st.integers(0, 7))):
            moment += 1
            after = draw(st.sampled_from([1, 2, 3, 400, 900, 2000, 5000])) + moment / 100
            members = {}
            if draw(st.booleans()):
                members["business"] = draw(
                    st.dictionaries(st.sampled_from(["clicks", "revenue"]), st.sampled_from([0.0, 1.0, 2.5]), min_size=1)
                )
            model = draw(st.sampled_from([None, None, "churn", "fraud"]))
            if model:
                members["model"] = model
            value = draw(st.integers(0, 1)) if "business" not in members or draw(st.booleans()) else None
            events.append(label(number, after, value, **members))
    return events


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 2))
def test_any_order_ends_in_what_a_batch_computes(events, order, chunk, partitions):
    assert_as_computed(run(events, order, chunk, partitions), events)


def test_labels_written_again_change_nothing_in_any_revision():
    once = [prediction(i, value=i % 2) for i in range(50)] + [label(i, 60, 1) for i in range(50)]
    again = once + [label(i, after, 1) for after in (500, 990, 1500, 90_000) for i in range(50)]
    first, second = (whole(run(events))["churn", "churn:1"] for events in (once, again))
    assert second["labels"] == 50
    assert second["label_delay_seconds"] == first["label_delay_seconds"]
    assert second["performance"] == first["performance"]
    assert second["revision"] == first["revision"]


def test_past_the_horizon_a_label_can_neither_add_nor_take_away():
    events = [prediction(1), label(1, 60, 1), label(1, HORIZON + 1, 0), prediction(2), label(2, HORIZON + 1, 1)]
    pipeline = run(events)
    record = whole(pipeline)["churn", "churn:1"]
    assert (record["labels"], record["performance"]["accuracy"]) == (1, 1.0)
    assert pipeline.counters["expired", LABELS] == 2


def test_a_correction_back_counts_from_when_its_value_was_first_said():
    record = whole(run([prediction(1), label(1, 10, 1), label(1, 100, 0), label(1, 900, 1)]))["churn", "churn:1"]
    assert record["label_delay_seconds"]["p50"] == pytest.approx(10, rel=0.04)


def test_a_kpi_that_comes_later_leaves_the_others_alone():
    events = [
        prediction(1), label(1, 5, business={"clicks": 1}), label(1, 500, business={"revenue": 20.0}),
        label(1, 600, business={"clicks": 2}),
    ]  # fmt: skip
    business = whole(run(events))["churn", "churn:1"]["business"]
    assert (business["clicks"]["sum"], business["clicks"]["count"], business["revenue"]["sum"]) == (2.0, 1, 20.0)


def test_labels_of_two_models_live_side_by_side_under_one_request_id():
    events = [
        label(1, 5, 1, model="churn"), label(1, 6, 0, model="fraud"), prediction(1, "churn"), prediction(1, "fraud"),
        label(1, 7, 1, model="fraud"), label(1, 7, 1, model="nobody"),
    ]  # fmt: skip
    pipeline = run(events)
    assert {name: r["performance"]["accuracy"] for name, r in whole(pipeline).items()} == {
        ("churn", "churn:1"): 1.0,
        ("fraud", "fraud:1"): 1.0,
    }
    assert pipeline.counters["corrected", LABELS] == 1
