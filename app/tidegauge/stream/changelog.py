"""A task's changelog: a log of sets of changes, kept short by a rolling snapshot.

Each checkpoint appends its changes and the next slice of all stored pairs. Once such a sweep has covered all pairs, every pair
has been written since the beginning of the sweep, so older records are deleted. Restoring therefore reads at most two sweeps.
How far a sweep has come is stored with the state: whoever takes the task over goes on there. If each owner began anew, owners
that change more often than a sweep takes would never complete one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError

from tidegauge.engine.stage import Stage
from tidegauge.stream.store import OVERHEAD, Changes, RocksStore, weight

log = logging.getLogger(__name__)
MAX_RECORD_BYTES = 1 << 20
SLICE_BYTES = 32 << 10, 512 << 10
"""The fewest and the most bytes that are read at once. Seeking the position costs as much as reading a few hundred pairs of the
join, of about 128 bytes."""
MOST_SWEPT = 8 << 20
"""The most bytes of a slice, since they are in memory; after a checkpoint with many changes the next ones catch up."""
EXPIRED_SHARE = 8
"""An expired pair uses this fraction of a slice's budget."""
MIN_DELETED = 50
"""A sweep deletes records only if there are at least this many, to save requests."""
VOID = b"\xffvoid"
"""The key of the only pair of a record that declares all earlier records void. No stage has keys that begin with its first
byte."""

SWEEP = b"\xffsweep"
"""The key of the progress of the sweep. No stage has keys that begin with its first byte."""


class _Progress(msgspec.Struct, array_like=True):
    """``cursor``: the first key that the sweep has not covered; ``begun``: the offset of its first record, None until it is
    known."""

    cursor: bytes = b""
    begun: int | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_progress = msgspec.msgpack.Decoder(_Progress).decode
_decode = msgspec.msgpack.Decoder(dict[bytes, bytes | None]).decode


def encode(changes: Changes) -> Iterator[bytes]:
    """Changelog records with these changes, each of about 1 MiB at most unless a single value is larger. They are made one by
    one, so that not all are in memory at once."""
    part: Changes = {}
    size = 0
    for key, value in changes.items():
        size += len(key) + len(value or b"") + OVERHEAD
        if size > MAX_RECORD_BYTES and part:
            yield _encode(part)
            part, size = {}, len(key) + len(value or b"") + OVERHEAD
        part[key] = value
    if part:
        yield _encode(part)


def decode(raw: bytes) -> Changes:
    return _decode(raw)


def encode_void(now: float) -> bytes:
    """A changelog record that declares all earlier records void as of wall clock ``now``."""
    return _encode({VOID: b"%d" % now})


def is_void(changes: Changes) -> bool:
    """Whether these changes declare everything restored so far void. They then contain nothing else."""
    return VOID in changes


class Slice(NamedTuple):
    """Pairs of the rolling snapshot. ``complete``: whether the sweep has covered all pairs."""

    pairs: Changes
    complete: bool


class RollingSnapshot:
    """The rolling snapshot of one task, which goes on where the one in the ``store`` has stopped."""

    def __init__(self, store: RocksStore, stage: Stage) -> None:
        self._store, self._stage = store, stage
        found = store.get(SWEEP)
        progress = _Progress() if found is None else _decode_progress(found)
        # After a first slice whose offset nobody has noted, the sweep begins anew.
        self._cursor = b"" if progress.begun is None else progress.cursor
        self._begun = progress.begun if self._cursor else None
        self._owed = 0
        self._deleted_before = 0

    @property
    def progress(self) -> bytes:
        """What is to be stored under SWEEP in the transaction of the next slice."""
        return _encode(_Progress(self._cursor, self._begun if self._cursor else None))

    def slice(self, dirty_bytes: int) -> Slice:
        """The next slice of stored pairs: in the mean half as many bytes as the changes that it is written with. Expired pairs
        are in it as deletes, and count an eighth: if they counted in full, more could expire than sweeps can delete, and the
        state would grow without end."""
        if not self._cursor:
            # Changes that are committed but not on disk yet would otherwise only be in the old part of the log.
            self._store.flush()
        least, most = SLICE_BYTES
        self._owed += dirty_bytes // 2
        budget = max(least, min(self._owed, MOST_SWEPT))
        self._owed = max(self._owed - budget, 0)
        out: Changes = {}
        while budget > 0:
            pairs, self._cursor = self._store.slice(self._cursor, min(max(budget, least), most))
            expired = dict.fromkeys(self._stage.expired(pairs))
            out.update(pairs)
            out.update(expired)
            passed = weight({key: pairs[key] for key in expired})
            budget -= weight(pairs) - passed + passed // EXPIRED_SHARE
            if not self._cursor:
                self._owed = 0
                return Slice(out, True)
        return Slice(out, False)

    async def committed(self, first_offset: int, complete: bool, admin: Any, place: TopicPartition) -> None:
        """Note that a checkpoint was committed whose first changelog record has ``first_offset``; delete older records if the
        sweep is ``complete``."""
        if self._begun is None:
            self._begun = first_offset
        if not complete:
            return
        if self._begun - self._deleted_before >= MIN_DELETED:
            try:
                await admin.delete_records({place: RecordsToDelete(before_offset=self._begun)})
                self._deleted_before = self._begun
            except KafkaError as error:
                # The next sweep tries again. Until then the topic is just longer than necessary.
                log.warning("%s is not shortened (%r); this user needs the right to delete on it", place.topic, error)
        self._begun = None
