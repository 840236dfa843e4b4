"""The open inference protocol's ModelInferRequest and ModelInferResponse in protobuf, as Seldon Core 2 writes them into Kafka:
bare, or in the frame of a schema registry, of which the schema's id is not needed: the field numbers are the protocol's.

Only the members that events need are described here; protobuf skips the others. See
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/open_inference_grpc.proto
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from tidegauge.errors import StreamError
from tidegauge.ingest.messages import Kind, bad
from tidegauge.ingest.tensors import Tensor, raw_values, tensor
from tidegauge.serdes import wire_format

_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
"""Type → the member that holds its values. FP16 has raw contents only."""


class _Member(NamedTuple):
    """A member of a protobuf message: its field number, its type, and whether it is repeated."""

    number: int
    type: str
    repeated: bool


_MESSAGES: dict[str, dict[str, _Member]] = {
    "Contents": {
        "bool_contents": _Member(1, "BOOL", True),
        "int_contents": _Member(2, "INT32", True),
        "int64_contents": _Member(3, "INT64", True),
        "uint_contents": _Member(4, "UINT32", True),
        "uint64_contents": _Member(5, "UINT64", True),
        "fp32_contents": _Member(6, "FLOAT", True),
        "fp64_contents": _Member(7, "DOUBLE", True),
        "bytes_contents": _Member(8, "BYTES", True),
    },
    "Tensor": {
        "name": _Member(1, "STRING", False),
        "datatype": _Member(2, "STRING", False),
        "shape": _Member(3, "INT64", True),
        "contents": _Member(5, "Contents", False),
    },
    "request": {
        "model_name": _Member(1, "STRING", False),
        "model_version": _Member(2, "STRING", False),
        "id": _Member(3, "STRING", False),
        "tensors": _Member(5, "Tensor", True),
        "raw": _Member(7, "BYTES", True),
    },
    "response": {
        "model_name": _Member(1, "STRING", False),
        "model_version": _Member(2, "STRING", False),
        "id": _Member(3, "STRING", False),
        "tensors": _Member(5, "Tensor", True),
        "raw": _Member(6, "BYTES", True),
    },
}
"""Message → name → member."""


class InferMessage(NamedTuple):
    """The tensors of a request or response, and the names of model and version in it; "" if it has none."""

    tensors: list[Tensor]
    model: str
    version: str


def available() -> None:
    """Raises StreamError if protobuf is not installed."""
    _message_class("request")


def read(kind: Kind, body: bytes) -> InferMessage:
    """The parts of a message. Raises EventError."""
    from google.protobuf.message import DecodeError

    made = _message_class(kind)()
    try:
        # A message alone never begins with a zero byte: no field has the number 0.
        made.ParseFromString(
            wire_format.message(wire_format.framed(body).payload).payload if wire_format.is_framed(body) else body
        )
    except (DecodeError, ValueError) as error:
        raise bad(f"the body is no protobuf message of a {kind}: {error}") from None
    if made.raw and len(made.raw) != len(made.tensors):
        raise bad(f"there are {len(made.tensors)} tensors and {len(made.raw)} raw contents; each tensor needs its own")
    found = []
    for place, of in enumerate(made.tensors):
        if made.raw:
            values = raw_values(of.name, of.datatype, made.raw[place])
        elif of.datatype in _CONTENTS:
            values = list(getattr(of.contents, _CONTENTS[of.datatype]))
        else:
            raise bad(f"tensor {of.name!r} is of type {of.datatype!r}; known: {', '.join(_CONTENTS)}")
        found.append(tensor(of.name, list(of.shape), values))
    return InferMessage(found, made.model_name, made.model_version)


@cache
def _message_class(name: str) -> Any:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise StreamError("protobuf messages need an extra: pip install 'tidegauge[protobuf]'") from error
    field = descriptor_pb2.FieldDescriptorProto
    # The package has a name of its own, since a process may also have loaded the protocol's own messages.
    file = descriptor_pb2.FileDescriptorProto(
        name="tidegauge_open_inference.proto", package="tidegauge.ingest", syntax="proto3"
    )
    for message, members in _MESSAGES.items():
        described = file.message_type.add(name=message)
        for member, (number, kind, repeated) in members.items():
            label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
            added = described.field.add(name=member, number=number, label=label)
            if kind in _MESSAGES:
                added.type, added.type_name = field.TYPE_MESSAGE, f".tidegauge.ingest.{kind}"
            else:
                added.type = field.Type.Value(f"TYPE_{kind}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tidegauge.ingest.{name}"))
