"""Requests and responses become prediction events, whatever their order, encoding and batch."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.events import START
from support.inference import arrived, events, exchanges, joined, protobuf, v1, v2
from support.schemas import mistakes
from tidegauge.ingest.exchanges import Exchanges, PartitionId, ReceivedMessage, Refused
from tidegauge.ingest.messages import Message
from tidegauge.spec import InputsSpec

ROWS = [{"age": 41, "plan": "b"}, {"age": 23, "plan": "a"}]


def test_each_row_of_kserves_v1_protocol_becomes_an_event() -> None:
    (one, two) = joined(v1("instances", ROWS), v1("predictions", [1, 0]))
    assert one == {
        "request_id": "a-0", "ts": START, "model": "churn", "model_version": "churn", "features": ROWS[0], "segments": {},
        "prediction": 1, "latency_ms": 12.5,
    }  # fmt: skip
    assert (two["request_id"], two["features"], two["prediction"]) == ("a-1", ROWS[1], 0)
    assert mistakes("prediction", one) == []


def test_a_single_row_keeps_the_id() -> None:
    (event,) = joined(v1("instances", ROWS[:1]), v1("predictions", [1]))
    assert event["request_id"] == "a"


def test_a_spec_says_what_is_what() -> None:
    inputs = InputsSpec(
        version="churn:7", request_id="key", features={"age": "x[0]", "income": "x[1]"}, segments={"region": "where"},
        prediction="label", score="proba[1]", probabilities={"stays": "proba[0]", "goes": "proba[1]"},
    )  # fmt: skip
    request = {"inputs": [
        {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[41.0, 1.5], [23.0, 2.5]]},
        {"name": "key", "shape": [2, 1], "datatype": "BYTES", "data": ["k1", "k2"]},
        {"name": "where", "shape": [2], "datatype": "BYTES", "data": ["eu", "us"]},
    ]}  # fmt: skip
    response = {"model_name": "churn", "model_version": "v9", "outputs": [
        {"name": "label", "shape": [2], "datatype": "INT64", "data": [1, 0]},
        {"name": "proba", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.75, 0.5, 0.5]},
    ]}  # fmt: skip
    (one, two) = joined(json.dumps(request).encode(), json.dumps(response).encode(), inputs)
    assert one == {
        "request_id": "k1", "ts": START, "model": "churn", "model_version": "churn:7", "latency_ms": 12.5,
        "features": {"age": 41.0, "income": 1.5}, "segments": {"region": "eu"}, "prediction": 1, "score": 0.75,
        "probabilities": {"stays": 0.25, "goes": 0.75},
    }  # fmt: skip
    assert (two["request_id"], two["segments"]) == ("k2", {"region": "us"})


def test_without_a_spec_the_response_says_the_version_and_columns_have_the_tensors_name() -> None:
    request = {"inputs": [{"name": "input-0", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]}
    response = {"model_name": "iris", "model_version": "v3", "outputs": [
        {"name": "predict", "shape": [1], "datatype": "INT64", "data": [2]}]}  # fmt: skip
    (event,) = joined(json.dumps(request).encode(), json.dumps(response).encode(), server=None)
    assert (event["model"], event["model_version"], event["prediction"]) == ("iris", "iris:v3", 2)
    assert event["features"] == {"input-0[0]": 1.0, "input-0[1]": 2.0, "input-0[2]": 3.0}


def test_the_most_probable_class_is_predicted_where_only_probabilities_are_told() -> None:
    inputs = InputsSpec(probabilities={"a": "[0]", "b": "[1]"})
    events_ = joined(v1("instances", ROWS), v1("predictions", [[0.9, 0.1], [0.2, 0.8]]), inputs)
    assert [event["prediction"] for event in events_] == ["a", "b"]


values = st.one_of(
    st.lists(st.integers(-(2**53), 2**53), min_size=5, max_size=5),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=5, max_size=5),
    st.lists(st.text(max_size=8), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
)


@given(
    asked=st.dictionaries(st.text("abcdef-_.", min_size=1, max_size=6), values, min_size=1, max_size=4), answered=values,
    count=st.integers(1, 5),
)  # fmt: skip
@settings(max_examples=60)
def test_every_encoding_of_the_same_rows_gives_the_same_events(asked: Any, answered: Any, count: int) -> None:
    inputs = {name: given[:count] for name, given in asked.items()}
    outputs = {"out": answered[:count]}
    rows = [dict(zip(inputs, row, strict=True)) for row in zip(*inputs.values(), strict=True)]
    wanted = joined(v1("instances", rows), v1("predictions", outputs["out"]))
    assert [event["features"] for event in wanted] == rows
    assert [event["prediction"] for event in wanted] == outputs["out"]
    assert joined(v2("inputs", inputs), v2("outputs", outputs)) == wanted
    for raw in (False, True):
        made = protobuf("request", inputs, raw=raw), protobuf("response", outputs, raw=raw)
        assert joined(*made, protobuf=True) == wanted


@given(st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_any_order_gives_the_same_events(count: int, rng: random.Random) -> None:
    found = []
    for shuffled in (False, True):
        messages = [
            Message(f"id{number}", kind, v1(member, [number] * (number + 1)), "churn", START + number)  # type: ignore[arg-type]
            for number in range(count)
            for kind, member in (("request", "instances"), ("response", "predictions"))
        ]
        if shuffled:
            rng.shuffle(messages)
        held = exchanges()
        outcomes = [held.take(arrived(message, place)) for place, message in enumerate(messages)]
        found.append(sorted((e["request_id"], e["prediction"]) for o in outcomes if o is not None for e in events(o)))
        assert (held.waiting, held.bytes) == (0, 0)
    assert found[0] == found[1]
    assert len(found[0]) == sum(range(1, count + 1))


def message(kind: str, id_: str = "a", body: bytes | None = None) -> Message:
    body = body or v1("instances" if kind == "request" else "predictions", [1])
    return Message(id_, kind, body, "churn", START)  # type: ignore[arg-type]


def test_a_request_without_a_response_is_an_error_once_the_timeout_is_over() -> None:
    held = exchanges()
    held.take(arrived(message("request"), stamp=100.0))
    held.take(arrived(message("response", "b"), 1, stamp=100.0))
    assert list(held.give_up(100.0)) == []
    (event,) = [event for outcome in held.give_up(100.5) for event in events(outcome)]
    assert event["error"] == "no response"
    assert {"prediction", "latency_ms"} & event.keys() == set()
    assert (held.unanswered, held.unmatched, held.waiting, held.bytes) == (1, 1, 0, 0)


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    held = exchanges(max_bytes=5_000)
    for number in range(20):
        held.take(arrived(message("request", f"id{number}"), number))
    assert held.bytes <= 5_000
    assert held.dropped == 20 - held.waiting
    assert held.take(arrived(message("response", "id0"), 20)) is None
    assert len(events(held.take(arrived(message("response", "id19"), 21)))) == 1


@pytest.mark.parametrize(
    ("asked", "answered", "inputs", "told"),
    [
        (v1("instances", [1, 2]), v1("predictions", [1]), {}, "the response has 1 rows, its request has 2"),
        (v1("instances", [1]), v1("predictions", [[0.5, 0.5]]), {}, "say which one is meant, as [0]"),
        (v1("instances", [1]), v1("predictions", [1]), {"score": "p"}, "inputs.score: there is no p"),
        (v1("instances", [1]), v1("predictions", ["a"]), {"score": "[0]"}, "inputs.score: [0] is 'a', which is no number"),
        (v1("instances", [[1, 2]]), v1("predictions", [1]), {"features": {"f": "[2]"}}, "inputs.features.f: row 0: it has 2"),
        (b'{"instances": 3}', v1("predictions", [1]), {}, "Expected `array | null`, got `int` - at `$.instances`"),
        (b"nonsense", v1("predictions", [1]), {}, "cannot be read as JSON"),
        (v1("outputs", []), v1("predictions", [1]), {}, "neither instances (V1) nor inputs (V2)"),
        (v2("inputs", {"x": [1, 2]}).replace(b"[2, 1]", b"[3, 1]"), v1("predictions", [1]), {}, "2 values instead of 3"),
    ],
)
def test_what_cannot_be_used_says_what_and_where(asked: bytes, answered: bytes, inputs: Any, told: str) -> None:
    held = exchanges(InputsSpec(**inputs))
    held.take(arrived(message("request", body=asked), 7))
    refused = held.take(arrived(message("response", body=answered), 8))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.place) == ("bad_inference", PartitionId("t", 0))
    assert told in refused.why


def take(held: Exchanges, kind: str, id_: str, topic: str, offset: int) -> None:
    held.take(ReceivedMessage(message(kind, id_), PartitionId(topic, 0), offset, START))


def test_nothing_that_waits_is_committed() -> None:
    held = exchanges()
    take(held, "request", "a", "in", 3)
    take(held, "request", "b", "in", 4)
    take(held, "response", "b", "out", 7)
    read = {PartitionId("in", 0): 5, PartitionId("out", 0): 8}
    # The request b is read again after a restart, so its response has to be, too.
    assert held.committable(read) == {PartitionId("in", 0): 3, PartitionId("out", 0): 7}
    take(held, "response", "a", "out", 8)
    read = {PartitionId("in", 0): 5, PartitionId("out", 0): 9}
    assert held.committable(read) == read
    assert held.committable(read) == read


@given(st.randoms(use_true_random=False), st.integers(1, 8))
@settings(max_examples=100)
def test_a_restart_anywhere_adds_no_event_and_loses_none(rng: random.Random, count: int) -> None:
    logs = {"in": [("request", f"id{n}") for n in range(count)], "out": [("response", f"id{n}") for n in range(count)]}
    for log in logs.values():
        rng.shuffle(log)
    committed = dict.fromkeys(logs, 0)
    written: list[tuple[str, str | None]] = []
    for _ in range(4):
        held, at = exchanges(), dict(committed)
        for _ in range(rng.randint(0, 2 * count)):
            topic = rng.choice(["in", "out"])
            if at[topic] < count:
                kind, id_ = logs[topic][at[topic]]
                outcome = held.take(ReceivedMessage(message(kind, id_), PartitionId(topic, 0), at[topic], START))
                written += [(e["request_id"], e.get("error")) for e in (events(outcome) if outcome else ())]
                at[topic] += 1
        offsets = held.committable({PartitionId(topic, 0): offset for topic, offset in at.items()})
        committed = {topic: offsets[PartitionId(topic, 0)] for topic in logs}
    held = exchanges()
    for topic, log in logs.items():
        for offset in range(committed[topic], count):
            outcome = held.take(ReceivedMessage(message(*log[offset]), PartitionId(topic, 0), offset, START))
            written += [(e["request_id"], e.get("error")) for e in (events(outcome) if outcome else ())]
    written += [(e["request_id"], e.get("error")) for outcome in held.give_up(START + 1) for e in events(outcome)]
    assert set(written) == {(f"id{n}", None) for n in range(count)}


def test_whoever_has_the_partition_next_reads_what_waited_in_it() -> None:
    held = exchanges()
    take(held, "request", "a", "in", 0)
    take(held, "request", "b", "other", 0)
    held.forget([PartitionId("in", 0)])
    assert held.waiting == 1
    take(held, "response", "a", "out", 0)
    assert len(list(held.give_up(START + 1))) == 1
    assert (held.unanswered, held.unmatched) == (1, 1)


@pytest.mark.parametrize(("member", "values"), [("server", ("one", "two")), ("component", ("predictor", "transformer"))])
def test_one_id_at_two_models_is_two_exchanges(member: str, values: tuple[str, str]) -> None:
    """As in a pipeline of Seldon's, or behind a transformer of KServe's."""
    held, found = exchanges(), []
    for kind, name in (("request", "instances"), ("response", "predictions")):
        for row, value in enumerate(values):
            of = {"server": "churn", member: value}
            outcome = held.take(arrived(Message("a", kind, v1(name, [row]), **of)))  # type: ignore[arg-type]
            found += [] if outcome is None else events(outcome)
    assert [event["prediction"] for event in found] == [0, 1]


def test_a_canarys_events_say_so() -> None:
    roles = {
        of: joined(v1("instances", [1]), v1("predictions", [1]), endpoint=of)[0].get("role") for of in ("default", "canary")
    }
    assert roles == {"default": None, "canary": "canary"}


def test_a_request_without_a_response_was_one_to_the_version_that_answers() -> None:
    held, answer = exchanges(), v2("outputs", {"y": [1]}, model_version="v3")
    held.take(arrived(message("request", "a")))
    held.take(arrived(message("request", "b")))
    assert events(held.take(arrived(message("response", "b", answer))))[0]["model_version"] == "churn:v3"
    ((event,),) = [events(outcome) for outcome in held.give_up(START + 1)]
    assert (event["request_id"], event["model_version"]) == ("a", "churn:v3")


def test_ids_and_segments_are_no_features_unless_the_spec_says_so() -> None:
    row = {"age": 41, "customer": "c7", "country": "eu"}
    inputs = InputsSpec(request_id="customer", segments={"region": "country"})
    (event,) = joined(v1("instances", [row]), v1("predictions", [1]), inputs)
    assert (event["request_id"], event["features"], event["segments"]) == ("c7", {"age": 41}, {"region": "eu"})


def test_tensors_of_other_rows_and_very_wide_ones_are_no_features() -> None:
    tensors = [("x", [2, 1], 2), ("scale", [1], 1), ("image", [2, 8, 20], 320), ("pair", [2, 2], 4)]
    made = [{"name": name, "shape": shape, "datatype": "INT64", "data": list(range(size))} for name, shape, size in tensors]
    found = joined(json.dumps({"inputs": made}).encode(), v1("predictions", [1, 0]))
    assert [event["features"] for event in found] == [
        {"x": 0, "pair[0]": 0, "pair[1]": 1}, {"x": 1, "pair[0]": 2, "pair[1]": 3},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("of", "rows", "inputs", "told"),
    [
        ({"id": "a" * 256}, 2, InputsSpec(), "have more than 256 characters"),
        ({}, 1, InputsSpec(features={"f": "scale"}), "tensor 'scale' has 3 rows, the first one, 'x', has 1"),
        ({}, 1, InputsSpec(segments={"s": "long"}), "would have 1000"),
    ],
)
def test_what_fits_no_event_is_refused(of: Any, rows: int, inputs: InputsSpec, told: str) -> None:
    tensors = {"x": [1] * rows, "long": ["a" * 1_000_000] * rows}
    body = json.loads(v2("inputs", tensors))
    body["inputs"].append({"name": "scale", "shape": [3], "datatype": "INT64", "data": [1, 2, 3]})
    held = exchanges(inputs, max_bytes=10 << 20)
    held.take(arrived(Message(**{"id": "a", "kind": "request", "body": json.dumps(body).encode(), "server": "churn"} | of)))
    answer = Message(**{"id": "a", "kind": "response", "body": v1("predictions", [1] * rows), "server": "churn"} | of)
    refused = held.take(arrived(answer))
    assert isinstance(refused, Refused)
    assert told in refused.why
