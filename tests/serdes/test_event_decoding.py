"""What becomes of the values of Avro and Protobuf, and of records that cannot be read."""

import base64
import io
import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import fastavro
import pytest
from google.protobuf import descriptor_pb2, message_factory
from hypothesis import given
from hypothesis import strategies as st

from support import framed
from support.driver import Pipeline
from tidegauge.engine.stage import DEAD_LETTERS, PREDICTIONS, SCHEMA_ID, Record, RefusedRecord
from tidegauge.serdes.protobuf_files import file_of
from tidegauge.serdes.registered_schema import RegisteredSchema


def read(schema, payload):
    """The record of JSON that is made of a payload of a schema, or the refused one."""
    (record,) = framed.knowing(schema).decoded([Record(7, 1, b"key", framed.framed(1, payload))])
    return record


def avro(schema, value, references=()):
    file = io.BytesIO()
    named = {}
    for of in references:
        fastavro.parse_schema(of, named_schemas=named)
    fastavro.schemaless_writer(file, fastavro.parse_schema(schema, named_schemas=named), value)
    referred = tuple((of["name"], RegisteredSchema("AVRO", json.dumps(of))) for of in references)
    return read(RegisteredSchema("AVRO", json.dumps(schema), referred), file.getvalue())


def message(schema, name, **members):
    file = file_of(schema)
    kind = message_factory.GetMessageClass(file.message_types_by_name[name])
    numbers = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(numbers)
    index = [found.name for found in numbers.message_type].index(name)
    return read(schema, (b"\x02" + bytes([2 * index]) if index else b"\0") + kind(**members).SerializeToString())


MOMENT = datetime(2025, 9, 27, 0, 0, 0, 250_000, tzinfo=UTC)
LOGICAL = [
    ({"type": "long", "logicalType": "timestamp-millis"}, MOMENT, b"1758931200.25"),
    ({"type": "long", "logicalType": "timestamp-micros"}, MOMENT + timedelta(microseconds=1), b"1758931200.250001"),
    ({"type": "long", "logicalType": "local-timestamp-millis"}, MOMENT.replace(tzinfo=None), b'"2025-09-27T00:00:00.250000"'),
    ({"type": "int", "logicalType": "date"}, date(2025, 9, 27), b'"2025-09-27"'),
    ({"type": "int", "logicalType": "time-millis"}, time(12, 30), b'"12:30:00"'),
    ({"type": "string", "logicalType": "uuid"}, UUID(int=1), b'"00000000-0000-0000-0000-000000000001"'),
    (
        {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": 2},
        Decimal("1234567890123456789012345678.05"),
        b"1234567890123456789012345678.05",
    ),
    ({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 0}, Decimal("-12"), b"-12"),
    (["null", "double"], None, b"null"),
    (["null", "double"], 0.1, b"0.1"),
    ("double", float("nan"), b"null"),
    ("double", float("-inf"), b"null"),
    ("bytes", b"abc", b'"YWJj"'),
    ({"type": "fixed", "name": "F", "size": 3}, b"abc", b'"YWJj"'),
    ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, "b", b'"b"'),
    ({"type": "map", "values": ["null", "string", "long"]}, {"a": None, "b": "x", "c": 2**53 + 1},
     b'{"a":null,"b":"x","c":9007199254740993}'),
    ({"type": "array", "items": "int"}, [1, 2], b"[1,2]"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value", "wanted"), LOGICAL)
def test_avro_values_become_json(type_, value, wanted):
    record = avro({"type": "record", "name": "R", "fields": [{"name": "v", "type": type_}]}, {"v": value})
    assert record.value == b'{"v":' + wanted + b"}"
    assert (record.offset, record.timestamp, record.key, record.headers) == (7, 1, b"key", ((SCHEMA_ID, b"1"),))


def test_avro_schemas_that_refer_to_others():
    features = {"type": "record", "name": "Features", "namespace": "shop", "fields": [{"name": "age", "type": "int"}]}
    event = {"type": "record", "name": "E", "namespace": "shop", "fields": [{"name": "features", "type": "shop.Features"}]}
    assert avro(event, {"features": {"age": 3}}, [features]).value == b'{"features":{"age":3}}'


DEFAULTS = RegisteredSchema(
    "PROTOBUF",
    """
    syntax = "proto3";
    import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
    import "google/protobuf/struct.proto"; import "google/protobuf/wrappers.proto";
    import "common/features.proto";
    message First { int32 x = 1; }
    message Event {
      int64 label = 1; optional int64 corrected = 2; string text = 3; bytes raw = 4; bool truth = 5;
      google.protobuf.Timestamp ts = 6; google.protobuf.Duration took = 7; google.protobuf.Struct features = 8;
      google.protobuf.DoubleValue score = 9; map<bool, int32> by_truth = 10; map<int32, string> by_number = 11;
      repeated double many = 12; oneof answer { string word = 13; double number = 14; }
      common.Color color = 15; common.Features typed = 16; Event inner = 17; uint64 large = 18;
      google.protobuf.Value either = 19;
    }
    """,
    (
        (
            "common/features.proto",
            RegisteredSchema(
                "PROTOBUF",
                'syntax = "proto3"; package common; enum Color { RED = 0; BLUE = 1; } message Features { double age = 1; }',
            ),
        ),
    ),
)
NOTHING = {
    "label": 0, "text": "", "raw": "", "truth": False, "by_truth": {}, "by_number": {}, "many": [], "color": "RED", "large": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        ({}, {}),
        ({"label": 0, "corrected": 0}, {"corrected": 0}),
        ({"ts": MOMENT}, {"ts": 1758931200.25}),
        ({"took": timedelta(seconds=-1, microseconds=1)}, {"took": -0.999999}),
        ({"features": {"a": None, "b": 1.5, "c": "x", "d": True, "e": {"f": [1]}}},
         {"features": {"a": None, "b": 1.5, "c": "x", "d": True, "e": {"f": [1]}}}),
        ({"score": {"value": 0.0}}, {"score": 0.0}),
        ({"by_truth": {True: 1}, "by_number": {3: "x"}}, {"by_truth": {"true": 1}, "by_number": {"3": "x"}}),
        ({"many": [float("inf"), 2.0]}, {"many": [None, 2.0]}),
        ({"word": ""}, {"word": ""}),
        ({"color": 1, "typed": {"age": 3}}, {"color": "BLUE", "typed": {"age": 3.0}}),
        ({"color": 9}, {"color": 9}),
        ({"raw": b"abc", "large": 2**64 - 1}, {"raw": "YWJj", "large": 2**64 - 1}),
        ({"inner": {"label": 3}}, {"inner": NOTHING | {"label": 3}}),
        ({"either": {}}, {"either": None}),
    ],
)  # fmt: skip
def test_protobuf_values_become_json(members, wanted):
    assert json.loads(message(DEFAULTS, "Event", **members).value) == NOTHING | wanted


def test_a_protobuf_schema_that_is_given_as_its_descriptor():
    """As a registry gives it where a producer registered that: one that refers to another, and to Google's."""
    (reference,) = DEFAULTS.referenced()
    raw = {name: descriptor_pb2.FileDescriptorProto() for name in ("event", reference)}
    of = file_of(DEFAULTS)
    of.CopyToProto(raw["event"])
    of.pool.FindFileByName(reference).CopyToProto(raw[reference])
    text = {name: base64.b64encode(file.SerializeToString()).decode() for name, file in raw.items()}
    given = RegisteredSchema("PROTOBUF", text["event"], ((reference, RegisteredSchema("PROTOBUF", text[reference])),))
    assert json.loads(message(given, "Event", ts=MOMENT, typed={"age": 3}).value) == NOTHING | {
        "ts": 1758931200.25,
        "typed": {"age": 3.0},
    }


EMPTY = {"type": "record", "name": "Empty", "fields": []}


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (RegisteredSchema("AVRO", "{"), "cannot be used"),
        (RegisteredSchema("AVRO", '{"type": "record", "name": "R", "fields": [{"name": "v", "type": "shop.Missing"}]}'),
         "shop.Missing"),
        (RegisteredSchema("AVRO", '{"type": "array", "items": "null"}'), "take no bytes"),
        (RegisteredSchema("AVRO", json.dumps({"type": "map", "values": {"type": "array", "items": EMPTY}})), "take no bytes"),
        (RegisteredSchema("PROTOBUF", 'syntax = "proto3"; message A { strin x = 1; }'), '"strin" is not defined'),
        (RegisteredSchema("PROTOBUF", 'syntax = "proto3"; import "missing.proto"; message A {}'), "missing.proto"),
        (RegisteredSchema("PROTOBUF", "abcd"), "cannot be used"),
        (RegisteredSchema("PROTOBUF", DEFAULTS.text, (("../up.proto", DEFAULTS),)), "leads out"),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_used(schema, said):
    record = read(schema, b"\0")
    assert isinstance(record, RefusedRecord)
    assert record.reason == "unknown_schema"
    assert said in record.message


def test_an_id_that_the_registry_does_not_know_is_asked_for_again():
    decoding = framed.knowing(None)
    records = [Record(0, 1, None, framed.framed(1, b"{}"))]
    assert decoding.to_ask_for(records) == set()
    assert decoding.decoded(records)[0].reason == "unknown_schema"
    decoding.ask_again()
    assert decoding.to_ask_for(records) == {1}
    decoding.learn(1, RegisteredSchema("JSON", "{}"))
    assert decoding.decoded(records)[0].value == b"{}"


@pytest.mark.parametrize("value", [None, b"", b"{}", b'{"a": "\\u0000"}', b"\0" * ((1 << 20) + 1)])
def test_what_is_not_framed_stays_as_it_is(value):
    records = [Record(0, 1, None, value), Record(1, 1, None, framed.framed(9, b"x") if value == b"{}" else value)]
    decoding = framed.knowing()
    decoding.learn(9, RegisteredSchema("JSON", "{}"))
    assert decoding.decoded(records)[0] is records[0]


@given(st.sampled_from(["AVRO", "PROTOBUF", "JSON"]), st.integers(0, 3), st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_are_events_or_dead_letters(kind, schema_id, noise, cut):
    """Of any framed bytes one dead letter or one event; the dead letter of what was not decodable holds them as they came."""
    event = {"request_id": "r1", "ts": 1758931200.25, "model_version": "m:1", "prediction": 1, "features": {}, "segments": {}}
    whole = framed.writers(kind)[0](event)
    for value in (b"\0" + schema_id.to_bytes(4, "big") + noise, whole[:cut] + noise, whole + noise):
        decoding = framed.knowing(*framed.schemas(kind), None)
        decoding.learn(0, None)
        pipeline = Pipeline()
        record = Record(0, -1, None, value)
        for of in decoding.to_ask_for([record]):
            decoding.learn(of, None)
        pipeline.joins[0].process(PREDICTIONS, decoding.decoded([record]))
        pipeline.finish()
        letters = [output for output in pipeline.outputs if output.topic == DEAD_LETTERS]
        accepted = pipeline.records()
        assert len(letters) == (0 if accepted else 1)
        for letter in letters:
            headers = dict(letter.headers)
            if headers["reason"] in (b"unknown_schema", b"not_decodable"):
                assert letter.value == value
            elif value[:1] == b"\0":
                assert headers[SCHEMA_ID] == str(int.from_bytes(value[1:5], "big")).encode()


def test_bytes_that_are_left_over_are_not_what_the_schema_says():
    whole = framed.writers("AVRO")[1]({"request_id": "r", "ts": 1.0, "label": 1})
    (record,) = framed.knowing(*framed.schemas("AVRO")).decoded([Record(0, 1, None, whole + b"x")])
    assert record.reason == "not_decodable"
    assert "1 bytes are left" in record.message


@pytest.mark.parametrize("value", [b"\0", b"\0\0\0\0", b"\0abc"])
def test_a_frame_that_ends_early(value):
    (record,) = framed.knowing().decoded([Record(0, 1, None, value)])
    assert record.reason == "not_decodable"
