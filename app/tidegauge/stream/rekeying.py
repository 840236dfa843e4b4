"""Finds the partition that a record belongs in by its content, whatever its key and partition, and the origin of re-keyed
records.

Predictions and labels are partitioned by their ``request_id``, KPI events that belong to no request by their model and segment.
Records without either are partitioned by their key; the join stage refuses them with a reason.

The key of a re-keyed record is its original partition, offset and key, such as ``3:12345:order-7`` (``3:12345`` without a key),
so that its dead letter can show the original record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from tidegauge.client import key_of
from tidegauge.engine.events import MAX_AHEAD_SECONDS, MAX_RECORD_BYTES, check_ts
from tidegauge.engine.kpi_events import is_kpi_event, read_kpi_event
from tidegauge.engine.refusals import CUT, MAX_KEY_BYTES, note_of_cut
from tidegauge.engine.stage import InputRecord, Output
from tidegauge.errors import EventError
from tidegauge.stream.partitioning import partitions_of


class _Head(msgspec.Struct, gc=False):
    request_id: str
    ts: float | str


_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError, TypeError)
_head = msgspec.json.Decoder(_Head).decode


class Placement(NamedTuple):
    """The partition of each record of a chunk, and the largest ``ts`` of its events (0 if none has one)."""

    partitions: list[int]
    reached: float


def place(records: Sequence[InputRecord], source: int, partitions: int) -> Placement:
    """The partitions that the records of one chunk from the partition ``source`` belong in. ``partitions``: how many there
    are."""
    keys: list[bytes]
    times: list[Any]
    try:
        heads = [_head(record.value) for record in records]  # type: ignore[arg-type]
        keys, times = [head.request_id.encode() for head in heads], [head.ts for head in heads]
    except _UNREADABLE:
        read = [_key_and_ts(record, source) for record in records]
        keys, times = [key for key, _ in read], [ts for _, ts in read]
    return Placement(partitions_of(keys, partitions), _latest(times, records))


def _key_and_ts(record: InputRecord, source: int) -> tuple[bytes, Any]:
    """The bytes that determine the partition of one record, and its member ``ts``, of whatever type."""
    value = record.value or b""
    try:
        head = _head(value)
        return head.request_id.encode(), head.ts
    except _UNREADABLE:
        pass
    try:
        ts = json.loads(value).get("ts")
    except (ValueError, AttributeError, RecursionError):
        ts = None
    return key_of(value) or _key_of_kpi(record) or record.key or b"%d" % source, ts


def _key_of_kpi(record: InputRecord) -> bytes | None:
    if not is_kpi_event(record.value):
        return None
    try:
        event = read_kpi_event(record)
    except EventError:
        return None
    return msgspec.msgpack.encode([event.model, event.segment if event.segments is None else event.segments])


def _latest(times: Sequence[Any], records: Sequence[InputRecord]) -> float:
    """The largest valid one among the ``times`` of the records' events."""
    if set(map(type, times)) == {float}:
        latest: float = max(times)
        if 0 <= latest <= min([record.timestamp for record in records]) / 1000 + MAX_AHEAD_SECONDS:
            return latest
    return max(_in_range(ts, record) for ts, record in zip(times, records, strict=True))


def _in_range(ts: Any, record: InputRecord) -> float:
    """Unix seconds of a ``ts``; 0 if it is invalid, in which case the event becomes a dead letter."""
    if isinstance(ts, bool) or not isinstance(ts, int | float | str):
        return 0.0
    try:
        return check_ts(ts, record)
    except EventError:
        return 0.0


def origin(record: InputRecord, partition: int) -> bytes:
    """The key of a re-keyed record that came from ``partition``."""
    if record.key is None:
        return b"%d:%d" % (partition, record.offset)
    return b"%d:%d:%b" % (partition, record.offset, record.key[:MAX_KEY_BYTES])


class RekeyedContent(NamedTuple):
    """The value and the headers of a re-keyed record."""

    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]]


def content(record: InputRecord) -> RekeyedContent:
    """What is written of a record: all of it or, if it is too large to be an event, just enough to show that it is. The whole
    record may have been compressed and then not fit into the topic."""
    value = record.value
    if value is None or len(value) <= MAX_RECORD_BYTES:
        return RekeyedContent(value, record.headers)
    return RekeyedContent(value[: MAX_RECORD_BYTES + 1], [(CUT, note_of_cut(value))])


def given_back(letter: Output) -> Output:
    """The dead letter of a re-keyed record, with its original key, partition and offset.

    >>> letter = given_back(Output("dead-letters", b"3:12345:order-7", b"{", headers=(("reason", b"x"), ("offset", b"9"))))
    >>> letter.key, letter.headers
    (b'order-7', (('reason', b'x'), ('offset', b'12345')))
    """
    partition, offset, *key = (letter.key or b"").split(b":", 2)
    came_from = {"partition": partition, "offset": offset}
    headers = tuple((name, came_from.get(name, value)) for name, value in letter.headers)
    return msgspec.structs.replace(letter, key=key[0] if key else None, headers=headers)
