"""Whatever is sent: accepted + duplicate + dead-lettered = sent, and nothing raises."""

import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, PREDICTIONS

GOOD = json.dumps(prediction(1, START, prediction=1, score=0.5, features={"a": 1.0, "b": "x"})).encode()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
member = st.sampled_from([*json.loads(GOOD), "label", "business", "segments", "latency_ms", "error", "probabilities", "role"])


@st.composite
def mangled(draw):
    """An event with some members replaced by anything, or bytes changed, cut or put in."""
    event = json.loads(GOOD)
    event["request_id"] = draw(st.sampled_from(["r1", "r2", "r3"]))
    for name in draw(st.lists(member, max_size=3)):
        if draw(st.booleans()):
            event[name] = draw(json_values)
        else:
            event.pop(name, None)
    value = json.dumps(event).encode()
    if draw(st.booleans()):
        place = draw(st.integers(0, len(value)))
        value = value[:place] + draw(st.binary(max_size=6)) + value[place + draw(st.integers(0, 6)) :]
    return value


NASTY = [
    b"", b"null", b"[" * 100_000, b'{"a":' * 50_000, b'{"request_id": "\\ud800", "ts": 1, "model_version": "m:1"}',
    b'{"request_id": "x", "ts": 1e400, "model_version": "m:1"}', b'{"request_id": "x", "ts": 1' + b"0" * 5000 + b"}",
    b'{"request_id": "x", "ts": 1, "model_version": "m:1", "features": {"a": NaN, "b": Infinity, "c": {"d": 1}}}',
    b'{"request_id": "y", "ts": 1, "model_version": "m:1", "features": {"a": "\\udfff", "\\ud800": 1}}',
    b'{"request_id": "z", "ts": 1, "model_version": "m:1", "prediction": 1' + b"0" * 400 + b"}",
    b'{"request_id": "q", "ts": true, "model_version": "m:1"}', b'"' + b"x" * (10 << 20) + b'"', b"\xff\xfe{",
    json.dumps({"request_id": "w", "ts": 1, "model_version": "m:1", "features": {str(i): i for i in range(3000)}}).encode(),
]  # fmt: skip


def check(topic, values):
    pipeline = Pipeline()
    pipeline.send(topic, values)
    pipeline.finish()
    dead = sum(o.topic == DEAD_LETTERS for o in pipeline.outputs)
    duplicate = pipeline.counters["duplicate", topic]
    if topic == PREDICTIONS:
        accepted = sum(r["predictions"] for r in pipeline.records().values() if r["window"] == "5m" and not r["segment"])
        others = [r for r in pipeline.records().values() if r["model"] != "churn" and not r["segment"] and r["window"] == "5m"]
        assert all(r["predictions"] for r in others)
    else:
        accepted = pipeline.joins[0].pending
    counted = accepted + duplicate + dead
    # Predictions of windows that are past their retention are counted by window.
    late = sum(count for (name, _), count in pipeline.counters.items() if name == "late_windows")
    assert counted < len(values) if late else counted == len(values)
    assert sum(count for (name, _), count in pipeline.counters.items() if name == "dead_lettered") == dead


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mangled(), max_size=8))
@example([b'{"request_id": "r1", "ts": 0, "model_version": "churn:3", "model": "churn", "prediction": 1}'])
@example([GOOD, json.dumps(json.loads(GOOD) | {"request_id": "r2", "ts": START - 31 * 365 * 86400}).encode()])
def test_predictions_are_all_accounted_for(values):
    check(PREDICTIONS, values)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(mangled(), max_size=8))
def test_labels_are_all_accounted_for(values):
    check(LABELS, values)


def test_the_worst_we_could_think_of():
    check(PREDICTIONS, NASTY)
    check(LABELS, NASTY)


def test_nan_is_missing_and_a_nested_value_is_a_mismatch():
    pipeline = Pipeline()
    values = [
        json.dumps(prediction(i, START, features={"a": 1.0, "b": 2.0})).encode() for i in range(10)
    ] + [
        b'{"request_id": "n", "ts": %d, "model": "churn", "model_version": "churn_xgb:3", "features": {"a": NaN, "b": [1]}}'
        % START
    ]  # fmt: skip
    pipeline.send(PREDICTIONS, values)
    pipeline.finish()
    (record,) = [r for r in pipeline.records().values() if r["window"] == "5m"]
    features = record["data"]["features"]
    assert features["a"]["missing_ratio"] == 1 / 11
    assert features["b"]["type_mismatch_ratio"] == 1 / 11
