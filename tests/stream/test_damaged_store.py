"""A store whose files were cut, changed or deleted answers rightly, or raises StateError and begins anew when opened next."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tidegauge.errors import StateError
from tidegauge.stream.store import DAMAGED, FIRST_KEY, RocksStore

COMMITS = 12
Pairs = dict[bytes, bytes]


def changes_of(number: int) -> dict[bytes, bytes | None]:
    """What the commit of this number changes: new keys, changed ones, and deletes."""
    rng = random.Random(number)
    found: dict[bytes, bytes | None] = {b"r%06d" % rng.randrange(10_000): rng.randbytes(200) for _ in range(1000)}
    found |= {b"c%d" % number: b"context %d" % number}
    for _ in range(60):
        found[b"r%06d" % rng.randrange(10_000)] = None
    return found


def applied(held: Pairs, begin: int) -> Pairs:
    """The pairs after all commits, made of those held after the commits before ``begin``."""
    for number in range(begin, COMMITS):
        for key, value in changes_of(number).items():
            if value is None:
                held.pop(key, None)
            else:
                held[key] = value
    return held


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "join-0"
    store = RocksStore(path)
    for number in range(COMMITS):
        for key, value in changes_of(number).items():
            if value is None:
                store.delete(key)
            else:
                store.put(key, value)
        store.freeze()
        store.commit(number + 1)
        store.flush()
        if number % 3 == 2:
            # A file each: the memtable is written when the store is closed.
            store.close()
            store = RocksStore(path)
    store.close()
    return path


def damage(path: Path, rng: random.Random) -> str:
    file = rng.choice(sorted(of for of in path.iterdir() if of.stat().st_size and not of.name.startswith("LOG")))
    raw = bytearray(file.read_bytes())
    how = rng.choice(("flipped", "cut", "deleted"))
    if how == "flipped":
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    elif how == "cut":
        raw = raw[: rng.randrange(len(raw))]
    file.write_bytes(raw)
    if how == "deleted":
        file.unlink()
    return f"{file.name} {how}"


def scanned(store: RocksStore) -> Pairs:
    return dict(store.scan(b"c")) | dict(store.scan(b"r"))


def swept(store: RocksStore) -> Pairs:
    found: Pairs = {}
    after = FIRST_KEY
    while after:
        part = store.slice(after, 1000)
        found |= part.pairs
        after = part.following
    return found


def asked_for(store: RocksStore) -> Pairs:
    keys = [b"r%06d" % number for number in range(10_000)] + [b"c%d" % number for number in range(COMMITS)]
    return {key: value for key, value in zip(keys, store.get_many(keys), strict=True) if value is not None}


@pytest.mark.parametrize("read", [scanned, swept, asked_for])
@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(20, 200))])
def test_a_damaged_store_is_right_or_begins_anew(
    sound: Path, tmp_path: Path, read: Callable[[RocksStore], Pairs], seed: int
) -> None:
    path = tmp_path / "join-0"
    shutil.copytree(sound, path)
    done = damage(path, random.Random(seed))
    store = RocksStore(path)
    try:
        try:
            held = read(store)
        except StateError:
            assert (path / DAMAGED).exists(), done
            store.close()
            store = RocksStore(path)
            held = read(store)
            assert (held, store.position) == ({}, None), done
        # Whatever an older manifest still knows is what it was at the position that it knows.
        assert applied(held, store.position or 0) == applied({}, 0), done
    finally:
        store.close()


def test_a_directory_that_cannot_be_written_or_is_in_use_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    store = RocksStore(tmp_path / "join-0")
    store.put(b"r1", b"1")
    store.freeze()
    store.commit(5)
    store.flush()
    with pytest.raises(StateError, match=r"join-0: cannot be opened: IO error: lock"):
        RocksStore(tmp_path / "join-0")
    store.close()
    again = RocksStore(tmp_path / "join-0")
    assert (again.get(b"r1"), again.position) == (b"1", 5)
    again.close()
    assert not caplog.records
