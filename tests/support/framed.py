"""The events of tests in the formats of a schema registry: schemas of predictions and labels, and what writes by them."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fastavro import parse_schema, schemaless_writer
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FileDescriptor

from tidegauge.serdes.event_decoding import EventDecoding
from tidegauge.serdes.protobuf_files import file_of
from tidegauge.serdes.registered_schema import RegisteredSchema

Write = Callable[[Mapping[str, Any]], bytes]
"""An event, as JSON has it, in the wire format."""
VALUE = ["null", "boolean", "long", "double", "string"]
AVRO_PREDICTION = {
    "type": "record", "name": "Prediction", "namespace": "shop", "fields": [
        {"name": "request_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "model_version", "type": "string"},
        {"name": "model", "type": ["null", "string"], "default": None},
        {"name": "prediction", "type": VALUE, "default": None},
        {"name": "score", "type": ["null", "double"], "default": None},
        {"name": "latency_ms", "type": ["null", "double"], "default": None},
        {"name": "error", "type": ["null", "string"], "default": None},
        {"name": "role", "type": ["null", {"type": "enum", "name": "Role", "symbols": ["live", "shadow", "canary"]}],
         "default": None},
        {"name": "features", "type": {"type": "map", "values": VALUE}, "default": {}},
        {"name": "segments", "type": {"type": "map", "values": "string"}, "default": {}},
    ],
}  # fmt: skip
AVRO_LABEL = {
    "type": "record", "name": "Label", "namespace": "shop", "fields": [
        {"name": "request_id", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "label", "type": VALUE, "default": None},
        {"name": "business", "type": ["null", {"type": "map", "values": "double"}], "default": None},
    ],
}  # fmt: skip
PROTOBUF = """
syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
import "google/protobuf/struct.proto";
message Prediction {
  enum Role { live = 0; shadow = 1; canary = 2; }
  message Value { oneof kind { bool truth = 1; int64 whole = 2; double number = 3; string text = 4; } }
  string request_id = 1;
  google.protobuf.Timestamp ts = 2;
  string model_version = 3;
  string model = 4;
  Value prediction = 5;
  optional double score = 6;
  optional double latency_ms = 7;
  Role role = 8;
  map<string, google.protobuf.Value> features = 9;
  map<string, string> segments = 10;
  string error = 11;
}
message Label {
  string request_id = 1;
  google.protobuf.Timestamp ts = 2;
  int64 label = 3;
  map<string, double> business = 4;
}
"""
JSON_SCHEMA = '{"type": "object", "required": ["request_id", "ts"]}'
PREDICTION, LABEL = 0, 1
"""Which of the two a schema is of; in the .proto file the message's number."""


def schemas(kind: str) -> tuple[RegisteredSchema, RegisteredSchema]:
    """Of predictions and of labels."""
    if kind == "AVRO":
        return RegisteredSchema(kind, json.dumps(AVRO_PREDICTION)), RegisteredSchema(kind, json.dumps(AVRO_LABEL))
    one = RegisteredSchema(kind, PROTOBUF if kind == "PROTOBUF" else JSON_SCHEMA)
    return one, one


def knowing(*known: RegisteredSchema) -> EventDecoding:
    """What has learned these schemas, under the ids 1, 2 and so on."""
    decoding = EventDecoding()
    for schema_id, schema in enumerate(known, 1):
        decoding.learn(schema_id, schema)
    return decoding


def framed(schema_id: int, payload: bytes) -> bytes:
    return b"\0" + schema_id.to_bytes(4, "big") + payload


def avro(schema: Any, schema_id: int) -> Write:
    parsed = parse_schema(schema)

    def write(event: Mapping[str, Any]) -> bytes:
        file = io.BytesIO()
        members = dict(event)
        if isinstance(members.get("ts"), float):
            members["ts"] = round(members["ts"] * 1e6)
        schemaless_writer(file, parsed, members)
        return framed(schema_id, file.getvalue())

    return write


def protobuf(file: FileDescriptor, name: str, schema_id: int, indexes: bytes) -> Write:
    """By Google's own reading of JSON."""
    kind = message_factory.GetMessageClass(file.message_types_by_name[name])

    def write(event: Mapping[str, Any]) -> bytes:
        return framed(schema_id, indexes + json_format.ParseDict(dict(event), kind()).SerializeToString())

    return write


@functools.cache
def writers(kind: str) -> tuple[Write, Write]:
    """Of predictions and labels as JSON has them, by schemas 1 and 2 of ``schemas(kind)``."""
    if kind == "AVRO":
        return avro(AVRO_PREDICTION, 1), avro(AVRO_LABEL, 2)
    if kind == "JSON":
        return tuple(lambda event, of=of: framed(of, json.dumps(event).encode()) for of in (1, 2))  # type: ignore[return-value]
    file = file_of(schemas(kind)[0])
    by_name = protobuf(file, "Prediction", 1, b"\0"), protobuf(file, "Label", 2, b"\x02\x02")

    def prediction(event: Mapping[str, Any]) -> bytes:
        return by_name[0](for_protobuf(event))

    return prediction, lambda event: by_name[1](for_protobuf(event))


def for_protobuf(event: Mapping[str, Any]) -> dict[str, Any]:
    """As Protobuf's mapping of JSON wants it: the time as text, a prediction by the name of its kind."""
    members = {name: value for name, value in event.items() if value is not None}
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(members["ts"] * 1e6))
    members["ts"] = moment.isoformat()
    if "prediction" in members:
        kinds = {bool: "truth", int: "whole", float: "number", str: "text"}
        members["prediction"] = {kinds[type(event["prediction"])]: event["prediction"]}
    return members
