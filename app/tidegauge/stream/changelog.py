"""A task's changelog: a log of change sets, kept short by a rolling snapshot.

Each checkpoint adds its changes and, besides, the next slice of all live pairs. When such a sweep has gone round, every
pair stands in the log since the sweep's start, and what is older is deleted. Restoring costs two sweeps at most.
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError

from tidegauge.engine.stage import Stage
from tidegauge.stream.store import OVERHEAD, Changes, RocksStore

log = logging.getLogger(__name__)
MAX_RECORD_BYTES = 4 << 20
MIN_SLICE_BYTES = 32 << 10
SLICE_PAIRS = 256, 4096
"""How many pairs are read at once, at least and at most: finding the place costs as much as reading some hundred."""
PAIR_BYTES = 128
"""About what a pair takes."""
MIN_DELETED = 50
"""A sweep deletes only once this many records would go: a request each checkpoint would be a waste."""
VOID = b"\xffvoid"
"""The key of the one pair of such a record. No stage has keys that begin so."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[bytes, bytes | None]).decode


def encode(changes: Changes) -> list[bytes]:
    """Changelog records, each around 4 MiB at most unless one value is larger."""
    whole = _encode(changes)
    if len(whole) <= MAX_RECORD_BYTES:
        return [whole] if changes else []
    parts: list[Changes] = [{}]
    size = 0
    for key, value in changes.items():
        size += len(key) + len(value or b"") + OVERHEAD
        if size > MAX_RECORD_BYTES and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][key] = value
    return [_encode(part) for part in parts if part]


def decode(raw: bytes) -> Changes:
    return _decode(raw)


def encode_void(now: float) -> bytes:
    """A changelog record that declares all before it void, as of wall clock ``now``."""
    return _encode({VOID: b"%d" % now})


def is_void(changes: Changes) -> bool:
    """Whether what was restored so far is to be forgotten; these changes hold nothing else."""
    return VOID in changes


class Slice(NamedTuple):
    """Pairs of the rolling snapshot; ``complete``: the sweep has come round."""

    pairs: Changes
    complete: bool


class Sweep:
    """The rolling snapshot of one task."""

    def __init__(self, store: RocksStore, stage: Stage) -> None:
        self._store, self._stage = store, stage
        self._cursor = b""
        self._begun: int | None = None
        self._deleted_before = 0

    def slice(self, dirty_bytes: int) -> Slice:
        """The next slice of live pairs, about half the bytes of the changes it rides with; expired pairs are dropped
        (as deletes of the slice)."""
        if not self._cursor:
            # What is committed but not on the disk would stand in the log's old part only.
            self._store.flush()
        budget = max(MIN_SLICE_BYTES, dirty_bytes // 2)
        out: Changes = {}
        least, most = SLICE_PAIRS
        while budget > 0:
            count = min(max(budget // PAIR_BYTES, least), most)
            pairs, self._cursor = self._store.slice(self._cursor, count)
            out.update(pairs)
            out.update(dict.fromkeys(self._stage.expired(pairs)))
            budget -= sum(map(len, pairs)) + sum(map(len, pairs.values())) + count
            if not self._cursor:
                return Slice(out, True)
        return Slice(out, False)

    async def committed(self, first_offset: int, complete: bool, admin: Any, place: TopicPartition) -> None:
        """A checkpoint whose first changelog record has ``first_offset`` was committed."""
        if self._begun is None:
            self._begun = first_offset
        if not complete:
            return
        if self._begun - self._deleted_before >= MIN_DELETED:
            try:
                await admin.delete_records({place: RecordsToDelete(before_offset=self._begun)})
                self._deleted_before = self._begun
            except KafkaError as error:
                # The next sweep tries again: nothing is wrong but that the topic is longer than it need be.
                log.warning("%s is not shortened (%r); this user needs the right to delete on it", place.topic, error)
        self._begun = None
