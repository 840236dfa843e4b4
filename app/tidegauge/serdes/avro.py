"""Reads Avro payloads with fastavro. Timestamps become Unix seconds, as ``ts`` and numeric features must be. Values of other
logical types (dates, times, decimals, UUIDs) stay as fastavro returns them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

from fastavro import parse_schema, schemaless_reader

from tidegauge.serdes.registered_schema import Reader, RegisteredSchema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def avro_reader(schema: RegisteredSchema) -> Reader:
    """A reader of payloads with this schema. Raises ValueError for a schema that allows payloads of unlimited size, and what
    fastavro raises for one that it cannot use."""
    named: dict[str, Any] = {}
    for referenced in schema.referenced().values():
        parse_schema(json.loads(referenced.text), named_schemas=named)
    parsed = parse_schema(json.loads(schema.text), named_schemas=named)
    for part in (parsed, *named.values()):
        _require_bounded(part, named)

    def read(payload: bytes) -> Any:
        file = io.BytesIO(payload)
        found = schemaless_reader(file, parsed, None)
        if left := len(payload) - file.tell():
            raise ValueError(f"{left} bytes are left behind what the schema describes")
        return found

    return read


def seconds(moment: datetime) -> float | str:
    """The Unix seconds of a timestamp; for a local time, whose offset is unknown, its text in ISO 8601.

    >>> seconds(datetime(2025, 9, 27, 0, 0, 0, 250000, tzinfo=UTC))
    1758931200.25
    """
    return (moment - _EPOCH).total_seconds() if moment.tzinfo is not None else moment.isoformat()


def _require_bounded(schema: Any, named: dict[str, Any]) -> None:
    """Raises ValueError for an array whose items take no bytes, since ten bytes could then stand for more items than fit into
    memory."""
    if isinstance(schema, list):
        for branch in schema:
            _require_bounded(branch, named)
    elif isinstance(schema, dict):
        if schema.get("type") == "array" and not _takes_bytes(schema["items"], named, frozenset()):
            raise ValueError("an array of items that take no bytes (null, records without fields)")
        for inner in (schema.get("items"), schema.get("values"), *(field["type"] for field in schema.get("fields", ()))):
            _require_bounded(inner, named)


def _takes_bytes(schema: Any, named: dict[str, Any], within: frozenset[str]) -> bool:
    """Whether every value of a schema takes at least one byte. ``within``: the named schemas that contain this one."""
    if isinstance(schema, str) and schema in named:
        return schema in within or _takes_bytes(named[schema], named, within | {schema})
    kind = schema.get("type") if isinstance(schema, dict) else schema
    if kind in ("record", "error"):
        return any(_takes_bytes(field["type"], named, within) for field in schema["fields"])
    if kind == "fixed":
        return bool(schema["size"])
    return kind != "null"
