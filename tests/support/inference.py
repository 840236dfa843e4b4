"""Exchanges with a model server as its loggers write them: CloudEvents over V1, V2 and protobuf bodies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from support.events import START
from tidegauge.ingest import open_inference
from tidegauge.ingest.exchanges import Exchanges, PartitionId, ReceivedMessage, Refused
from tidegauge.ingest.ingest_process import specs_by_server
from tidegauge.ingest.messages import Message
from tidegauge.models.registry import ModelRecord, registry_of
from tidegauge.spec import InputsSpec, ModelSpec

TYPES = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}
CONTENTS = {"BOOL": "bool_contents", "INT64": "int64_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents"}


def v1(member: str, rows: Sequence[Any]) -> bytes:
    return json.dumps({member: list(rows)}).encode()


def v2(member: str, tensors: Mapping[str, list[Any]], **body: Any) -> bytes:
    """JSON with a tensor of shape [n, 1] for each column."""
    made = [
        {"name": name, "shape": [len(values), 1], "datatype": TYPES[type(values[0])], "data": values}
        for name, values in tensors.items()
    ]
    return json.dumps({member: made, **body}).encode()


def protobuf(kind: str, tensors: Mapping[str, list[Any]], *, raw: bool = False) -> bytes:
    """ModelInferRequest or ModelInferResponse, its values in the typed contents or as raw ones."""
    message = open_inference._message_class(kind)()
    for name, values in tensors.items():
        datatype = TYPES[type(values[0])]
        of = message.tensors.add(name=name, datatype=datatype, shape=[len(values)])
        given = [value.encode() if isinstance(value, str) else value for value in values]
        if raw:
            message.raw.append(_raw(datatype, given))
        else:
            getattr(of.contents, CONTENTS[datatype]).extend(given)
    return bytes(message.SerializeToString())


def _raw(datatype: str, values: list[Any]) -> bytes:
    import struct

    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    return struct.pack("<" + {"BOOL": "?", "INT64": "q", "FP64": "d"}[datatype] * len(values), *values)


def kserve(kind: str, id_: str, time: float, server: str = "churn") -> dict[str, str]:
    """The headers that KServe's payload logger sends."""
    return {
        "Ce-Specversion": "1.0", "Ce-Id": id_, "Ce-Type": f"org.kubeflow.serving.inference.{kind}",
        "Ce-Source": "http://localhost:9081/", "Ce-Time": datetime.fromtimestamp(time, UTC).isoformat().replace("+00:00", "Z"),
        "Ce-Inferenceservicename": server, "Ce-Namespace": "prod", "Ce-Component": "predictor", "Ce-Endpoint": "default",
        "Ce-Metadata": "{}", "Content-Type": "application/json",
    }  # fmt: skip


def exchanges(inputs: InputsSpec | None = None, max_bytes: int = 1 << 20) -> Exchanges:
    spec = ModelSpec("churn", inputs=inputs or InputsSpec())
    return Exchanges(specs_by_server(registry_of([ModelRecord("churn", spec)])), max_bytes)


def arrived(message: Message, offset: int = 0, stamp: float = START, topic: str = "t") -> ReceivedMessage:
    return ReceivedMessage(message, PartitionId(topic, 0), offset, stamp)


def events(outcome: Any) -> list[dict[str, Any]]:
    """The events of an outcome, which is none that was refused."""
    assert outcome is not None
    assert not isinstance(outcome, Refused), outcome
    return [json.loads(record.value) for record in outcome]


def joined(request: bytes, response: bytes, inputs: InputsSpec | None = None, **of: Any) -> list[dict[str, Any]]:
    """The events of a request and a response 12.5 ms apart."""
    held = exchanges(inputs)
    message = {"id": "a", "server": "churn"} | of
    assert held.take(arrived(Message(kind="request", body=request, time=START, **message))) is None
    return events(held.take(arrived(Message(kind="response", body=response, time=START + 0.0125, **message), 1)))
