"""Whatever is sent: accepted + duplicate + dead-lettered = sent, and nothing raises."""

import hashlib
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, PREDICTIONS, Record

LATE = START + 10**7
ARRIVED = ("joined", "duplicate", "corrected", "waiting", "expired")
"""What a label event is counted as when it comes, each as one of them."""
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
        accepted = pipeline.counters["waiting", LABELS]
        assert pipeline.joins[0].pending <= accepted
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


def label_event(draw, number):
    event = {"request_id": draw(st.sampled_from(["r1", "r2", "r3"])), "ts": START + draw(st.sampled_from([1, 2, 3, 10**7]))}
    said = draw(st.sampled_from(["label", "business", "both"]))
    if said != "business":
        event["label"] = draw(st.sampled_from([0, 1, True, "1", "yes"]))
    if said != "label":
        event["business"] = {draw(st.sampled_from(["clicks", "revenue"])): draw(st.sampled_from([1.0, 2.0]))}
    if draw(st.booleans()):
        event["model"] = draw(st.sampled_from(["churn", "fraud"]))
    return event


@st.composite
def label_chunks(draw):
    return [[label_event(draw, number) for number in range(draw(st.integers(1, 4)))] for _ in range(draw(st.integers(1, 4)))]


@given(predicted=st.sets(st.sampled_from(["r1", "r2", "r3"])), chunks=label_chunks())
def test_each_label_is_one_of_joined_repeated_corrected_waiting_and_expired(predicted, chunks):
    pipeline = Pipeline()
    made = prediction(1, START, prediction=1, score=0.5)
    pipeline.send(PREDICTIONS, [json.dumps(made | {"request_id": name}).encode() for name in sorted(predicted)])
    for events in chunks:
        before = pipeline.counters.copy()
        pipeline.send(LABELS, [json.dumps(event).encode() for event in events])
        found = {name: pipeline.counters[name, LABELS] - before[name, LABELS] for name in ARRIVED}
        assert sum(found.values()) == len(events), found


@given(chunks=label_chunks())
def test_each_label_without_a_prediction_is_repeated_or_in_the_end_unmatched(chunks):
    pipeline = Pipeline()
    join = pipeline.joins[0]
    sent = 0
    for events in chunks:
        join.process(
            LABELS, [Record(sent + i, int(LATE * 1000), None, json.dumps(event).encode()) for i, event in enumerate(events)]
        )
        sent += len(events)
    join.checkpoint(LATE + 100 * 86400)
    join.expired(dict(join._store.items()))
    assert pipeline.counters["unmatched", LABELS] == pipeline.counters["waiting", LABELS]
    assert pipeline.counters["unmatched", LABELS] + pipeline.counters["duplicate", LABELS] == sent
    assert join.pending == 0


def test_a_label_that_names_another_model_is_unmatched_though_its_request_has_a_prediction():
    pipeline = Pipeline()
    join = pipeline.joins[0]
    pipeline.send(PREDICTIONS, [json.dumps(prediction(1, START, prediction=1) | {"request_id": "r1"}).encode()])
    labels = [{"request_id": "r1", "ts": START + 1, "label": 1, "model": model} for model in ("churn", "fraud", "fraud")]
    pipeline.send(LABELS, [json.dumps(event).encode() for event in labels])
    pipeline.send(PREDICTIONS, [json.dumps(prediction(2, START + 100 * 86400, prediction=1)).encode()])
    pipeline.checkpoint()
    join.expired(dict(join._store.items()))
    assert [pipeline.counters[name, LABELS] for name in ("joined", "unmatched", "duplicate")] == [1, 1, 1]


def test_a_dead_letter_of_any_record_fits_into_a_topic_as_kafka_makes_it():
    pipeline = Pipeline()
    whole = b"{" + b"x" * (40 << 20)
    pipeline.joins[0].process(PREDICTIONS, [Record(7, -1, b"k" * (2 << 20), whole)])
    (letter,) = (o for o in pipeline.joins[0].checkpoint(0.0) if o.topic == DEAD_LETTERS)
    said = dict(letter.headers)
    size = len(letter.value) + len(letter.key) + sum(len(name) + len(value) for name, value in said.items())
    assert size < 1_048_588 - 1000
    assert said["reason"] == b"too_large"
    assert said["cut"] == f"of {len(whole)} bytes, sha256 {hashlib.sha256(whole).hexdigest()}".encode()
    assert whole.startswith(letter.value)


def test_malformed_events_are_all_accounted_for():
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
