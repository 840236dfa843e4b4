"""The rolling snapshot deletes what has expired as fast as it comes, however few other changes there are."""

import struct

import pytest

from tidegauge.stream.changelog import MOST_SWEPT, RollingSnapshot
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
