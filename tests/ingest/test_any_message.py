"""Whatever bytes come as a message, they become events, or are refused with a reason: nothing else is ever raised."""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.events import START
from support.inference import arrived, exchanges, kserve, protobuf, v1, v2
from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.refusals import REASONS, UNPROCESSABLE
from tidegauge.engine.stage import Record
from tidegauge.errors import EventError
from tidegauge.ingest import cloud_events, topic_records
from tidegauge.ingest.exchanges import Refused, check
from tidegauge.ingest.messages import Message
from tidegauge.spec import InputsSpec, ModelSpec

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**19, 10**400), st.floats(), st.text(max_size=5),
    st.sampled_from(["\ud800", "a", "FP32", "BYTES", "x"]),
)  # fmt: skip
keys = st.sampled_from([
    "instances", "predictions", "inputs", "outputs", "name", "shape", "datatype", "data", "parameters", "binary_data_size",
    "model_name", "model_version", "id", "type", "data_base64", "time", "\ud800",
])  # fmt: skip
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=12
)
inputs = st.sampled_from([
    InputsSpec(),
    InputsSpec(features={"f": "x[1]", "g": "[0]"}, segments={"s": "y"}, request_id="x", prediction="[0]", score="p"),
    InputsSpec(probabilities={"a": "[0]", "b": "[1]"}),
])  # fmt: skip


def judged(asked: bytes, answered: bytes, of: InputsSpec, *, is_protobuf: bool = False) -> None:
    """Both are taken, and what is written can be read as an event."""
    held = exchanges(of)
    for place, (kind, body) in enumerate((("request", asked), ("response", answered))):
        message = Message("a", kind, body, "churn", START, protobuf=is_protobuf)  # type: ignore[arg-type]
        outcome = held.take(arrived(message, place))
        with contextlib.suppress(EventError):
            check(message, lambda name: ModelSpec(name, inputs=of))
    assert outcome is not None
    if isinstance(outcome, Refused):
        assert outcome.reason in REASONS.keys() - {UNPROCESSABLE}
        return
    records = [Record(0, -1, made.key, made.value) for made in outcome]
    taken = Decoder(Prediction).chunk(records)
    assert taken.refused == []
    assert [event.request_id.encode() for event in taken.events] == [made.key for made in outcome]


@given(asked=trees, answered=trees, of=inputs)
@example({"instances": [10**30]}, {"predictions": [10**30]}, InputsSpec())
@example({"instances": [{"\ud800": "\ud800"}]}, {"predictions": ["\ud800"]}, InputsSpec())
@example({"instances": [{"x": "\ud800"}]}, {"predictions": [1]}, InputsSpec(request_id="x"))
@settings(max_examples=300)
def test_any_json_becomes_events_or_is_refused(asked: Any, answered: Any, of: InputsSpec) -> None:
    for wrap in (lambda kind, of: of, lambda kind, of: {kind: of}, lambda kind, of: {kind: [of, of]}):
        judged(json.dumps(wrap("instances", asked)).encode(), json.dumps(wrap("predictions", answered)).encode(), of)
        judged(json.dumps(wrap("inputs", asked)).encode(), json.dumps(wrap("outputs", answered)).encode(), of)


@given(st.randoms(use_true_random=False), inputs, st.booleans())
@settings(max_examples=300)
def test_any_mangled_message_becomes_events_or_is_refused(rng: random.Random, of: InputsSpec, raw: bool) -> None:
    columns: dict[str, list[Any]] = {"x": [1.5, 2.5], "y": ["a", "b"]}
    for asked, answered, is_protobuf in (
        (protobuf("request", columns, raw=raw), protobuf("response", {"p": [1, 0]}, raw=raw), True),
        (v2("inputs", columns), v2("outputs", {"p": [1, 0]}), False),
        (v1("instances", [{"x": [1, 2], "y": "a"}]), v1("predictions", [[0.5, 0.5]]), False),
    ):
        judged(mangled(rng, asked), mangled(rng, answered), of, is_protobuf=is_protobuf)


def mangled(rng: random.Random, body: bytes) -> bytes:
    found = bytearray(body)
    for _ in range(rng.randint(0, 3)):
        place = rng.randrange(len(found))
        match rng.randint(0, 2):
            case 0:
                found[place] = rng.randrange(256)
            case 1:
                del found[place : place + rng.randint(1, 8)]
            case _:
                found[place:place] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
        if not found:
            return b""
    return bytes(found)


@given(trees, st.dictionaries(st.sampled_from([*kserve("request", "a", START)]), st.text(max_size=20)))
@settings(max_examples=300)
def test_any_cloud_event_is_read_or_refused(tree: Any, headers: dict[str, str]) -> None:
    body = json.dumps(tree).encode()
    for given_ in (headers, {"content-type": cloud_events.STRUCTURED}, {"content-type": cloud_events.BATCH}):
        with contextlib.suppress(EventError):
            for message in cloud_events.from_http(given_, body):
                assert [text.encode() for text in (message.id, *cloud_events.to_kafka(message).values())]


@given(st.binary(max_size=40), st.binary(max_size=12), st.sampled_from(["events", "x.inputs", "seldon.a.model.b.outputs"]))
@settings(max_examples=300)
def test_any_record_is_read_or_refused(value: bytes, key: bytes, topic: str) -> None:
    for headers in ((), ((key.decode("latin-1"), value),), (("ce_type", b"inference.request"), ("ce_id", key))):
        with contextlib.suppress(EventError):
            found = topic_records.message(topic, Record(0, 0, key or None, value or None, headers))
            assert exchanges().take(arrived(found)) is None
