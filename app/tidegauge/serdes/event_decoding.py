"""Decodes records with the schemas whose ids they have.

The value of a record in the wire format becomes JSON, and a header with the id of its schema is added. A record whose schema
cannot be used, or that does not fit its schema, becomes a RefusedRecord. All other records are not changed.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import orjson

from tidegauge.engine.events import MAX_RECORD_BYTES
from tidegauge.engine.stage import SCHEMA_ID, InputRecord, Record, RefusedRecord
from tidegauge.serdes.avro import avro_reader, seconds
from tidegauge.serdes.protobuf import protobuf_reader
from tidegauge.serdes.registered_schema import Reader, RegisteredSchema
from tidegauge.serdes.wire_format import MAGIC, framed, is_framed

log = logging.getLogger(__name__)
UNKNOWN_SCHEMA, NOT_DECODABLE = "unknown_schema", "not_decodable"
"""Reasons of dead letters."""
_READERS: dict[str, Callable[[RegisteredSchema], Reader]] = {"AVRO": avro_reader, "PROTOBUF": protobuf_reader}


class EventDecoding:
    """The readers of the known schemas, by schema id. They are kept for good, since a registry never changes the schema of an
    id."""

    def __init__(self) -> None:
        # None for a JSON Schema, whose payloads are JSON already.
        self._readers: dict[int, Reader | None] = {}
        self._unusable: dict[int, str] = {}
        self._missing: set[int] = set()

    def to_ask_for(self, records: Sequence[InputRecord]) -> set[int]:
        """The schema ids in these records that are not known yet, so that the registry must be asked."""
        ids = {framed(record.value).schema_id for record in records if record.value and is_framed(record.value)}
        return ids - self._readers.keys() - self._unusable.keys() - self._missing

    def learn(self, schema_id: int, schema: RegisteredSchema | None) -> None:
        """Note the schema of an id as the registry gave it; None if it has none."""
        if schema is None:
            self._missing.add(schema_id)
        elif schema.type == "JSON":
            self._readers[schema_id] = None
        else:
            try:
                self._readers[schema_id] = _READERS[schema.type](schema)
            except Exception as error:
                # The library may raise anything. The records of this schema become dead letters with this message.
                log.error("schema %d (%s) cannot be used: %s", schema_id, schema.type, error)
                self._unusable[schema_id] = f"schema {schema_id} ({schema.type}) cannot be used: {error}"

    def ask_again(self) -> None:
        """Forget which ids the registry did not have, since they may be registered by now."""
        self._missing.clear()

    def decoded(self, records: Sequence[InputRecord]) -> Sequence[InputRecord]:
        """The records, decoded and in the same order. All of their schema ids must be known: see ``to_ask_for``."""
        if not any([record.value is not None and record.value[:1] == b"\0" for record in records]):
            return records
        return [self._decoded(record) for record in records]

    def _decoded(self, record: InputRecord) -> InputRecord:
        value = record.value
        if value is None or value[:1] != b"\0" or len(value) > MAX_RECORD_BYTES:
            return record
        if not is_framed(value):
            return _refused(record, NOT_DECODABLE, f"begins with the magic byte {MAGIC} and ends before a schema's id does")
        schema_id, payload = framed(value)
        if schema_id in self._missing:
            return _refused(record, UNKNOWN_SCHEMA, f"the schema registry has no schema with the id {schema_id}")
        if schema_id in self._unusable:
            return _refused(record, UNKNOWN_SCHEMA, self._unusable[schema_id])
        reader = self._readers[schema_id]
        try:
            text = payload if reader is None else json_of(reader(payload))
        except Exception as error:
            # The library may raise anything for bytes that do not fit the schema.
            words = f"is not what schema {schema_id} says: {type(error).__name__}: {error}"
            return _refused(record, NOT_DECODABLE, words)
        headers = (*record.headers, (SCHEMA_ID, b"%d" % schema_id))
        return Record(record.offset, record.timestamp, record.key, text, headers)


def _refused(record: InputRecord, reason: str, message: str) -> RefusedRecord:
    headers = tuple(record.headers)
    return RefusedRecord(record.offset, record.timestamp, record.key, record.value, headers, reason, message)


def json_of(value: Any) -> bytes:
    """The value that a reader returned as JSON. Timestamps become Unix seconds, decimals exact numbers, bytes Base64, and NaN
    and infinities null.

    >>> json_of({"fee": Decimal("0.10"), "day": date(2025, 9, 27), "score": float("nan"), "raw": b"abc"})
    b'{"fee":0.10,"day":"2025-09-27","score":null,"raw":"YWJj"}'

    Raises TypeError for a value of any other type.
    """
    return orjson.dumps(value, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return seconds(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:f}")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no place in an event")
