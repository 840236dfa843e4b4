"""What a service may put into an event, and what comes of it."""

from __future__ import annotations

import datetime
import decimal
import enum
import hmac
import json
import math
import types
import uuid
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars
import pyarrow
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.logged import KeptLogger
from tidegauge.engine.events import Decoder, Label, Prediction
from tidegauge.engine.stage import Record
from tidegauge_logger import Logger
from tidegauge_logger.events import LABELS, MAX_EVENT_BYTES, PREDICTIONS
from tidegauge_logger.request_ids import new_request_id


@pytest.fixture
def log():
    return KeptLogger()


class Plan(enum.Enum):
    BASIC = "basic"


def only(log):
    (event,) = log.taken()
    return event


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (float("nan"), None), (math.inf, None), (np.float64("nan"), None), (np.float32(0.5), 0.5), (np.int64(3), 3),
        (np.bool_(True), True), (np.str_("a"), "a"), (np.array([2.5]), 2.5), (np.array([1, 2]), [1, 2]),
        (decimal.Decimal("1.50"), 1.5), (datetime.date(2025, 9, 27), "2025-09-27"),
        (datetime.datetime(2025, 9, 27, tzinfo=datetime.UTC), "2025-09-27T00:00:00Z"),
        (pd.Timestamp("2025-09-27", tz="UTC"), "2025-09-27T00:00:00+00:00"), (pd.NaT, None), (pd.NA, None),
        (np.datetime64("2025-09-27T00:00:00"), "2025-09-27T00:00:00"),
        (np.datetime64("2025-09-27", "ns"), "2025-09-27T00:00:00"),
        (np.timedelta64(90, "s"), "PT90S"), (pd.Timedelta("90s"), "PT90S"), (datetime.timedelta(seconds=90), "PT90S"),
        (pd.Interval(1, 2), "(1, 2]"), (Plan.BASIC, "basic"), (b"ab", "YWI="), ({"a"}, ["a"]),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))), ("\ud800", "?"), (2**70, 2**70), (None, None), (object, str(object)),
    ],
)  # fmt: skip
def test_values_become_what_json_can_say(log, given, expected):
    log.prediction(features={"value": given}, score=np.float32(0.25), latency_ms=np.float64(2.5))
    event = only(log)
    assert event["features"] == {"value": expected}
    assert event["score"] == 0.25
    assert log.dropped == 0


class Row(NamedTuple):
    age: int
    plan: str | None


class Payload(pydantic.BaseModel):
    age: int
    plan: str | None


@pytest.mark.parametrize(
    "given",
    [
        pd.Series({"age": 41, "plan": None}), pd.DataFrame([{"age": 41, "plan": None}], index=["a customer"]),
        pd.DataFrame([{"age": 41, "plan": None}]).iloc[0], polars.DataFrame([{"age": 41, "plan": None}]),
        pyarrow.Table.from_pylist([{"age": 41, "plan": None}]), Row(41, None), Payload(age=41, plan=None),
        types.MappingProxyType({"age": 41, "plan": None}),
    ],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_a_row_with_names_is_its_values_by_name(log, given):
    log.prediction(features=given, attributions=given, segments=given)
    event = only(log)
    assert event["features"] == event["attributions"] == event["segments"] == {"age": 41, "plan": None}
    log.label("r1", business=pd.Series({"revenue": 2.5}))
    assert only(log)["business"] == {"revenue": 2.5}
    assert log.dropped == 0


def test_an_element_of_a_structured_array_and_a_row_of_itertuples_have_names(log):
    log.prediction(features=np.array([(41, 2.5)], dtype=[("age", "i4"), ("income", "f8")])[0])
    (row,) = pd.DataFrame({"age": [41], "income": [2.5]}, index=["customer 7"]).itertuples()
    log.prediction(features=row)
    assert [event["features"] for event in log.taken()] == [{"age": 41, "income": 2.5}] * 2


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"prediction": [1]}, {"prediction": 1}), ({"prediction": Plan.BASIC}, {"prediction": "basic"}),
        ({"prediction": pd.Series(["a"])}, {"prediction": "a"}), ({"prediction": polars.Series([2])}, {"prediction": 2}),
        ({"prediction": 1, "score": np.array([[0.25]])}, {"prediction": 1, "score": 0.25}),
        ({"score": "0.25"}, {"score": 0.25}), ({"score": decimal.Decimal("0.25")}, {"score": 0.25}),
        ({"score": pd.NA, "cost": math.nan}, {"score": None, "cost": None}),
        ({"latency_ms": datetime.timedelta(seconds=1.5)}, {"latency_ms": 1500.0}),
        ({"model_version": 3, "model": Plan.BASIC}, {"model_version": "3", "model": "basic"}),
        ({"error": ValueError("no model")}, {"error": "no model"}), ({"error": ValueError()}, {"error": "ValueError()"}),
        ({"error": 500}, {"error": "500"}), ({"error": False, "score": 0.5}, {"score": 0.5}),
        ({"ts": np.datetime64("2025-09-27T00:00:00")}, {"ts": 1758931200.0}),
        ({"ts": datetime.date(2025, 9, 27)}, {"ts": 1758931200.0}), ({"segments": "eu"}, {"segments": "eu"}),
    ],
    ids=str,
)  # fmt: skip
def test_a_member_is_one_value_of_its_kind_and_the_worker_takes_it(log, members, expected):
    log.prediction(**members)
    (event,) = log._inbox.take()
    found = json.loads(event.value)
    assert {name: found.get(name) for name in expected} == expected
    assert "error" in expected or "error" not in found
    _, _, dead = Decoder(Prediction).chunk([Record(0, -1, event.key.encode(), event.value)])
    assert dead == []


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT])
def test_a_label_of_no_request_is_told(log, missing):
    log.label(missing, 1)
    assert log.dropped == 1
    assert "request_id is missing" in log.counters.last["bad"]


@pytest.mark.parametrize(
    ("given", "expected"), [(b"r1", "r1"), (7, "7"), (uuid.UUID(int=1), str(uuid.UUID(int=1))), ("None", "None")]
)
def test_an_id_may_be_what_a_database_returns(log, given, expected):
    log.label(given, 1)
    assert only(log)["request_id"] == expected
    assert log.prediction(request_id=given) == expected
    assert only(log)["request_id"] == expected


def test_a_block_closes_its_logger():
    with Logger("127.0.0.1:1", model_version="m:1") as log:
        pass
    log.prediction(score=0.5)
    assert log.counters.dropped["closed"] == 1


def test_a_label_is_one_value(log):
    log.label("r1", np.array([1]))
    assert only(log)["label"] == 1
    log.label("r1", np.array([0, 1]))
    assert log.dropped == 1
    assert "label has 2 values" in log.counters.last["bad"]


def test_a_table_of_several_rows_is_no_prediction(log):
    log.prediction(features=pd.DataFrame({"age": [41, 42]}))
    assert log.dropped == 1
    assert "2 rows" in log.counters.last["bad"]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals() | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: values for name in ("request_id", "ts", "model_version", "features", "segments", "error", "score", "role")
        },
    ),
    values,
)
def test_whatever_is_given_nothing_is_raised_and_nothing_is_silently_lost(members, label):
    log = KeptLogger()
    request_id = log.prediction(**members)
    log.label(request_id, label)
    assert isinstance(request_id, str)
    assert log.counters.accepted + log.dropped == 2
    assert all(isinstance(event, dict) for event in log.taken())


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text(), max_size=5))
def test_the_worker_takes_what_the_logger_writes(features):
    log = KeptLogger()
    request_id = log.prediction(features=features, prediction=1, score=0.5, segments={"region": "eu"})
    log.label(request_id, 0, business={"revenue": 1.0})
    for event in log._inbox.take():
        kind = {PREDICTIONS: Prediction, LABELS: Label}[event.topic]
        events, _, dead = Decoder(kind).chunk([Record(0, -1, event.key.encode(), event.value)])
        assert dead == []
        assert events[0].request_id == request_id
        assert event.key == request_id


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"request_id": ""}, "request_id"), ({"request_id": "x" * 257}, "request_id"), ({"request_id": "\ud800"}, "request_id"),
        ({"ts": "soon"}, None), ({"ts": float("nan")}, "ts"), ({"ts": [1]}, "ts"),
        ({"features": {"text": "x" * MAX_EVENT_BYTES}}, "bytes"), ({"features": np.array([1.0, 2.0])}, "dict(zip(names"),
        ({"features": [1, 2]}, "a list has no names"), ({"probabilities": np.array([0.3, 0.7])}, "probabilities: a ndarray"),
        ({"segments": ["eu"]}, "segments"), ({"score": np.array([[0.3, 0.7]])}, "predict_proba(rows)[0, 1]"),
        ({"prediction": pd.DataFrame({"a": [1]})}, "is a DataFrame"), ({"prediction": {"label": 1}}, "is a dict"),
        ({"prediction": Payload(age=1, plan="a")}, "is a Payload"), ({"prediction": []}, "0 values"),
        ({"score": "high"}, "'high' is no number"), ({"ts": 1758931200250}, "not milliseconds"), ({"ts": pd.NaT}, "missing"),
    ],
)  # fmt: skip
def test_what_the_worker_would_refuse_is_counted(log, members, reason):
    log.prediction(**members)
    assert log.dropped == (reason is not None)
    assert reason is None or reason in log.counters.last["bad"]


def test_a_version_must_be_known():
    log = KeptLogger(model_version=None)
    log.prediction(score=0.5)
    assert log.dropped == 1
    log.prediction(score=0.5, model_version="m:2")
    assert log.dropped == 1


def test_an_abstention_is_not_an_absent_prediction(log):
    log.prediction(prediction=None)
    assert "prediction" in only(log)
    log.prediction(error="out of memory")
    assert "prediction" not in only(log)
    log.prediction(prediction=None, more="\ud800")
    assert only(log)["prediction"] is None


def test_what_the_contract_does_not_know_goes_along(log):
    log.prediction(score=0.5, shard=7)
    assert only(log)["shard"] == 7


def test_a_mistake_of_a_caller_changes_no_event_later(log):
    features = {"age": 41}
    log.prediction(features=features)
    features["age"] = 0
    assert only(log)["features"] == {"age": 41}


def test_ids_are_version_7_in_order_and_unique():
    made = [new_request_id() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    parsed = [uuid.UUID(text) for text in made]
    assert {(one.version, one.variant) for one in parsed} == {(7, uuid.RFC_4122)}
    milliseconds = [one.int >> 80 for one in parsed]
    assert milliseconds == sorted(milliseconds)


@pytest.mark.parametrize(
    ("given", "odd"),
    [({"score": 83}, True), ({"confidence": -0.5}, True), ({"score": 0.5, "confidence": 99}, False),
     ({"score": 1.0000000002}, False), ({"score": math.nan}, False), ({}, False)],
)  # fmt: skip
def test_a_score_that_is_no_probability_is_sent_and_told(caplog, given, odd):
    log = Logger("127.0.0.1:1", model_version="m:1")
    log.prediction(**given)
    log.predictions(pd.DataFrame({"prediction": [1], **{name: [value] for name, value in given.items()}}))
    log.close(0)
    assert log.counters.accepted == 2
    said = [record.getMessage() for record in caplog.records if "outside 0 to 1" in record.getMessage()]
    assert (sum(int(line.split()[0]) for line in said) == 2) == odd
    assert odd or not said


def test_memory_is_bounded_and_what_is_beyond_is_counted():
    log = KeptLogger(max_buffer_bytes=1 << 20)
    for _ in range(10_000):
        log.prediction(score=0.5)
    assert log.buffered_bytes <= 1 << 20
    assert log.counters.dropped["buffer_full"] == log.dropped > 0
    assert log.counters.accepted + log.dropped == 10_000


def test_a_logger_takes_its_settings_from_the_environment(monkeypatch, tmp_path):
    for name, value in {
        "BOOTSTRAP": "kafka:9092", "MODEL_VERSION": "m:1", "SPOOL": str(tmp_path), "MAX_BUFFER_BYTES": "1000000",
        "PREDICTIONS_TOPIC": "p", "SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "me", "SSL_CAFILE": "ca.pem",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"TIDEGAUGE_{name}", value)
    log = Logger.from_env(model_version="m:2")
    assert log.model_version == "m:2"
    assert log._topics == {"predictions": "p", "labels": "labels"}
    assert log._kafka == {
        "bootstrap.servers": "kafka:9092", "security.protocol": "SASL_SSL", "sasl.username": "me", "ssl.ca.location": "ca.pem",
    }  # fmt: skip
    monkeypatch.delenv("TIDEGAUGE_BOOTSTRAP")
    with pytest.raises(ValueError, match="TIDEGAUGE_BOOTSTRAP"):
        Logger.from_env()


def test_with_a_key_events_carry_pseudonyms_of_request_ids(tmp_path, monkeypatch):
    key = b"0123456789abcdef0123456789abcdef"
    (tmp_path / "key").write_bytes(key + b"\n")
    monkeypatch.setenv("TIDEGAUGE_PSEUDONYM_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("TIDEGAUGE_BOOTSTRAP", "127.0.0.1:1")
    log = KeptLogger.from_env(model_version="m:1")
    assert log.prediction(request_id="ada@example.org", prediction=1) == "ada@example.org"
    log.label("ada@example.org", 1)
    assert log.predictions(pd.DataFrame({"request_id": ["ada@example.org"], "prediction": [1]})) == ["ada@example.org"]
    expected = hmac.new(key, b"ada@example.org", "sha256").hexdigest()[:32]
    assert [event["request_id"] for event in log.taken()] == [expected] * 3


@pytest.mark.parametrize("key", [None, b"too short"])
def test_without_a_usable_key_there_is_no_logger(tmp_path, monkeypatch, key):
    if key is not None:
        (tmp_path / "key").write_bytes(key)
    monkeypatch.setenv("TIDEGAUGE_PSEUDONYM_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ValueError, match="key for pseudonyms"):
        Logger.from_env(bootstrap="127.0.0.1:1")
