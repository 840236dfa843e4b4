"""KPIs that belong to no request, keyed by model and segment, beside the KPIs of labels."""

import json
import random

import pytest

from support.driver import Pipeline
from support.events import START, prediction
from support.schemas import mistakes
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, PREDICTIONS
from tidegauge.spec import ModelSpec

SPEC = ModelSpec("churn", task="binary", segments=(("region",),), windows=("1h",), label_horizon=86400.0)


def kpi(value, after=60.0, **members):
    return LABELS, {"kpi": {"tickets": value}, "model": "churn", "ts": START + after} | members


def run(events, chunk=1, seed=0):
    pipeline = Pipeline(SPEC)
    pipeline.play([(topic, json.dumps(event).encode()) for topic, event in events], chunk, random.Random(seed))
    return pipeline


def tickets(pipeline):
    """(sum, count) by version, region and hour."""
    return {
        (r["model_version"], r["segment"].get("region"), r["window_start"][11:13]): (of["sum"], of["count"])
        for r in pipeline.records().values()
        if (of := r.get("business", {}).get("tickets"))
    }


FIRST = (PREDICTIONS, prediction(1, START, prediction=1, score=0.5, segments={"region": "eu"}))


def test_kpis_count_with_the_version_that_is_live():
    shadow = (PREDICTIONS, prediction(2, START + 10, model_version="churn_xgb:4", role="shadow"))
    successor = (PREDICTIONS, prediction(3, START + 4000, model_version="churn_xgb:5"))
    events = [
        FIRST,
        shadow,
        kpi(3),
        kpi(4, 61),
        successor,
        kpi(5, 4100, segment={"region": "eu"}),
        kpi(1, 4200, model_version="old"),
    ]
    found = tickets(run(events))
    assert found == {
        ("churn_xgb:3", None, "00"): (7.0, 2),
        ("churn_xgb:5", None, "01"): (5.0, 1),
        ("churn_xgb:5", "eu", "01"): (5.0, 1),
        ("old", None, "01"): (1.0, 1),
    }


def test_a_repeat_changes_nothing_and_another_value_corrects():
    pipeline = run([FIRST, kpi(3), kpi(3), kpi(8), kpi(2, segment={"region": "eu"}), kpi(8)])
    assert tickets(pipeline)["churn_xgb:3", None, "00"] == (10.0, 2)
    assert (pipeline.counters["duplicate", LABELS], pipeline.counters["corrected", LABELS]) == (2, 1)


def test_unattached_kpis_do_not_count_as_labels():
    record = next(iter(run([FIRST, kpi(3)]).records().values()))
    assert (record["labels"], record["predictions"]) == (0, 1)
    assert "label_delay_seconds" not in record


def test_a_chunk_of_labels_and_of_these_counts_both():
    labels = [(LABELS, {"request_id": "r1", "ts": START + 5, "label": 1, "business": {"tickets": 1}})]
    record = next(r for r in run([FIRST, *labels, kpi(3)], chunk=10).records().values() if not r["segment"])
    assert (record["labels"], record["business"]["tickets"]["sum"], record["business"]["tickets"]["count"]) == (1, 4.0, 2)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"kpi": {"tickets": 3}, "ts": START}, "missing_member"),
        ({"kpi": {"tickets": 3}, "model": "churn"}, "missing_member"),
        ({"kpi": {"tickets": None}, "model": "churn", "ts": START}, "missing_member"),
        ({"kpi": {"tickets": "many"}, "model": "churn", "ts": START}, "wrong_type"),
        ({"kpi": {"tickets": 3}, "model": "churn", "ts": -1}, "bad_timestamp"),
        ({"kpi": {"": 3}, "model": "churn", "ts": START}, "wrong_type"),
        ({"kpi": {"tickets": 3}, "model": "a\0b", "ts": START}, "bad_model"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(event, reason):
    pipeline = run([FIRST, (LABELS, event), kpi(1)])
    (letter,) = [o for o in pipeline.outputs if o.topic == DEAD_LETTERS]
    assert dict(letter.headers)["reason"].decode() == reason
    assert tickets(pipeline)["churn_xgb:3", None, "00"] == (1.0, 1)


def test_the_schema_accepts_unattached_kpis():
    for _, event in (kpi(3), kpi(0.5, segment={"region": "eu"}, model_version="churn_xgb:3"), kpi(True, segment="eu")):
        assert mistakes("label", event) == []
    assert mistakes("label", {"kpi": {"tickets": 3}, "ts": START})
    assert mistakes("label", {"request_id": "a", "ts": START})
