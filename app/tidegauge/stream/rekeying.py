"""Where a record belongs by what it says, whatever key and partition it came with; and where one came from that was re-keyed.

A prediction and its labels belong together by their ``request_id``, a KPI event that belongs to no request with others of its
model and segment. What says neither stays together with what has the same key; the join stage refuses it, with its reason.

A re-keyed record's key is the place it came from and the key it came with, as ``3:12345:order-7`` (``3:12345`` without one), so
that a dead letter can be given back as it was.
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


class Placed(NamedTuple):
    """The partition of each record of a chunk, and the largest ``ts`` of its events (0 where none has one)."""

    partitions: list[int]
    reached: float


def place(records: Sequence[InputRecord], source: int, partitions: int) -> Placed:
    """Where the records of one chunk of the partition ``source`` belong in a topic of so many partitions."""
    keys: list[bytes]
    times: list[Any]
    try:
        heads = [_head(record.value) for record in records]  # type: ignore[arg-type]
        keys, times = [head.request_id.encode() for head in heads], [head.ts for head in heads]
    except _UNREADABLE:
        read = [_key_and_ts(record, source) for record in records]
        keys, times = [key for key, _ in read], [ts for _, ts in read]
    return Placed(partitions_of(keys, partitions), _latest(times, records))


def _key_and_ts(record: InputRecord, source: int) -> tuple[bytes, Any]:
    """What decides the partition of one record, and its member ``ts``, whatever that is."""
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
    """The largest of the ``times`` of the records' events that are in range."""
    if set(map(type, times)) == {float}:
        latest: float = max(times)
        if 0 <= latest <= min([record.timestamp for record in records]) / 1000 + MAX_AHEAD_SECONDS:
            return latest
    return max(_in_range(ts, record) for ts, record in zip(times, records, strict=True))


def _in_range(ts: Any, record: InputRecord) -> float:
    """Unix seconds of a ``ts``; 0 of one that makes a dead letter of its event."""
    if isinstance(ts, bool) or not isinstance(ts, int | float | str):
        return 0.0
    try:
        return check_ts(ts, record)
    except EventError:
        return 0.0


def origin(record: InputRecord, partition: int) -> bytes:
    """The key of a record of ``partition`` once it is re-keyed."""
    if record.key is None:
        return b"%d:%d" % (partition, record.offset)
    return b"%d:%d:%b" % (partition, record.offset, record.key[:MAX_KEY_BYTES])


class Content(NamedTuple):
    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]]


def content(record: InputRecord) -> Content:
    """What is written of a record: all of it, but of what is too large to be an event no more than shows that it is. The whole,
    which may have been compressed when it came, need not fit into a topic."""
    value = record.value
    if value is None or len(value) <= MAX_RECORD_BYTES:
        return Content(value, record.headers)
    return Content(value[: MAX_RECORD_BYTES + 1], [(CUT, note_of_cut(value))])


def given_back(letter: Output) -> Output:
    """A dead letter of a record that was re-keyed, with the key, the partition and the offset it had before.

    >>> letter = given_back(Output("dead-letters", b"3:12345:order-7", b"{", headers=(("reason", b"x"), ("offset", b"9"))))
    >>> letter.key, letter.headers
    (b'order-7', (('reason', b'x'), ('offset', b'12345')))
    """
    partition, offset, *key = (letter.key or b"").split(b":", 2)
    came_from = {"partition": partition, "offset": offset}
    headers = tuple((name, came_from.get(name, value)) for name, value in letter.headers)
    return msgspec.structs.replace(letter, key=key[0] if key else None, headers=headers)
