"""Records of topics that model servers write: CloudEvents, and pairs of topics of which one holds requests and one responses.

Seldon Core 2 writes protobuf to ``seldon.<namespace>.model.<name>.inputs`` and ``.outputs``; MLServer reads and writes V2
JSON, by default from ``mlserver-input`` to ``mlserver-output``. There the record's key is the id; Seldon's key may have
partition and pipeline before the client's id, which is then in a header.
"""

from __future__ import annotations

import re
from typing import Any

from tidegauge.engine.stage import InputRecord
from tidegauge.ingest import cloud_events
from tidegauge.ingest.messages import Kind, Message, bad, checked_id

_SELDON = re.compile(r"seldon\.[^.]+\.model\.(.+)\.(?:inputs|outputs)")
_ENDS: dict[str, Kind] = {"input": "request", "inputs": "request", "output": "response", "outputs": "response"}
MODEL_HEADER = "mlserver-model"
REQUEST_ID_HEADER = "x-request-id"
"""Seldon's header with the id of the client's request."""


def message(topic: str, record: InputRecord) -> Message:
    """The message in a record of ``topic`` (its name in Kafka). Raises EventError where it cannot be one."""
    value = record.value or b""
    kind = _ENDS.get(re.split(r"[.\-_]", topic)[-1])
    if kind is None:
        found = cloud_events.from_kafka(record.headers, value)
        if found is None:
            raise bad("the record has no header ce_type, and its topic's name ends in neither inputs nor outputs")
        return found
    seldon = _SELDON.fullmatch(topic)
    headers = {name.lower(): (content or b"").decode("utf-8", "replace") for name, content in record.headers}
    model = seldon[1] if seldon else headers.get(MODEL_HEADER) or headers.get("ce-modelid")
    protobuf = not value.lstrip().startswith(b"{")
    known = headers.get(REQUEST_ID_HEADER) if seldon else None
    request_id = checked_id(known, f"the header {REQUEST_ID_HEADER}") if known else None
    return Message(
        checked_id(_text(record.key), "the record's key"), kind, value, model, protobuf=protobuf, request_id=request_id
    )


def _text(key: bytes | None) -> Any:
    return None if key is None else key.decode("utf-8", "replace")
