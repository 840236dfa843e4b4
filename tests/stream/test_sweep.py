"""The rolling snapshot deletes what has expired as fast as it comes, however few other changes there are."""

import asyncio
import struct

import pytest
from aiokafka import TopicPartition

from tidegauge.stream.changelog import MOST_SWEPT, SWEEP, RollingSnapshot
from tidegauge.stream.store import RocksStore, weight

A_CHECKPOINT, LIVES = 1500, 6
"""Pairs that are written, each once, and how many checkpoints later they have expired."""


class Expiring:
    """Of a stage what a sweep asks: each value begins with the checkpoint at which it was written."""

    def __init__(self):
        self.now = 0

    def expired(self, pairs):
        return [key for key, value in pairs.items() if struct.unpack_from(">I", value)[0] + LIVES < self.now]


@pytest.mark.parametrize("size", [40, 300])
def test_what_is_written_once_and_expires_takes_bounded_room(tmp_path, size):
    store, stage = RocksStore(tmp_path / "state"), Expiring()
    sweep, held = RollingSnapshot(store, stage), []
    for checkpoint in range(15 * LIVES):
        stage.now = checkpoint
        for number in range(A_CHECKPOINT):
            key = b"r%016x" % ((checkpoint * A_CHECKPOINT + number) * 0x9E3779B97F4A7C15 % 2**64)
            store.put(key, struct.pack(">I", checkpoint) + bytes(size))
        changes = store.freeze()
        swept, _ = sweep.slice(weight(changes))
        changes.update({key: None for key, value in swept.items() if value is None})
        # What rides with the changes stays in proportion to them.
        assert weight({key: value for key, value in swept.items() if value is not None}) < 2 * weight(changes)
        store.commit(checkpoint + 1)
        held.append(sum(1 for _ in store.scan(b"r")))
    store.close()
    alive = A_CHECKPOINT * (LIVES + 1)
    assert max(held) < 3 * alive
    assert max(held[-3 * LIVES :]) < 1.1 * max(held[-6 * LIVES : -3 * LIVES])


def test_large_pairs_do_not_make_a_slice_large(tmp_path):
    """Profiles of many features take a thousand times the bytes of a pending request."""
    store, stage, large = RocksStore(tmp_path / "state"), Expiring(), 200_000
    sweep = RollingSnapshot(store, stage)
    written = {b"d%03d" % number: struct.pack(">I", 0) + bytes(large) for number in range(50)}
    store.put_many(written)
    store.freeze()
    store.commit(1)
    swept = {}
    complete, slices = False, 0
    while not complete:
        pairs, complete = sweep.slice(large * 5)
        # Half as much as the changes, and at most one pair more.
        assert weight(pairs) < large * 3 + large
        swept |= pairs
        slices += 1
    assert written.items() <= swept.items()
    assert slices > 10
    store.close()


def test_after_many_changes_at_once_the_next_checkpoints_catch_up(tmp_path):
    store, stage = RocksStore(tmp_path / "state"), Expiring()
    sweep = RollingSnapshot(store, stage)
    store.put_many({b"d%03d" % number: struct.pack(">I", 0) + bytes(200_000) for number in range(200)})
    many = weight(store.freeze())
    store.commit(1)
    sizes, complete = [], False
    for changed in (many, *([0] * 20)):
        pairs, complete = sweep.slice(changed)
        sizes.append(weight(pairs))
        if complete or sizes[-1] < MOST_SWEPT:
            break
    assert max(sizes) < MOST_SWEPT + 300_000
    assert sum(sizes) > 0.45 * many
    store.close()


class Kept:
    """Of an admin client what a sweep asks: notes before which offset records are deleted."""

    def __init__(self):
        self.before = []

    async def delete_records(self, bounds):
        self.before.extend(of.before_offset for of in bounds.values())


@pytest.mark.parametrize("checkpoints_of_an_owner", [2, 7, 1000])
def test_a_sweep_is_completed_by_owners_that_change(tmp_path, checkpoints_of_an_owner):
    """The log is kept as a broker would: pairs that are in no record from the deleted offset on would be lost."""
    store, stage, admin, place = RocksStore(tmp_path / "state"), Expiring(), Kept(), TopicPartition("log", 0)
    store.put_many({b"d%04d" % number: struct.pack(">I", 0) + bytes(2000) for number in range(1000)})
    logged, made = [store.freeze()], 0
    store.commit(1)
    for checkpoint in range(1, 300):
        if checkpoint % checkpoints_of_an_owner == 1:
            sweep = RollingSnapshot(store, stage)
        store.put(b"c%04d" % checkpoint, struct.pack(">I", 0) + bytes(100))
        store.put(SWEEP, sweep.progress)
        changes = store.freeze()
        swept, complete = sweep.slice(weight(changes))
        logged.append({**swept, **changes})
        # A hundred markers of transactions lie between two records.
        store.commit(100 * checkpoint + 1)
        asyncio.run(sweep.committed(100 * checkpoint, complete, admin, place))
        if len(admin.before) > made:
            made = len(admin.before)
            left = {key for record in logged[admin.before[-1] // 100 :] for key, value in record.items() if value is not None}
            assert left >= {key for key, _ in store.scan(b"") if not key.startswith(b"\0")}
    store.close()
    assert made >= 3
