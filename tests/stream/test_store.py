"""The store against a dictionary: what is read, swept and found again after a restart."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegauge.stream import changelog
from tidegauge.stream.store import POSITION, RocksStore

keys = st.sampled_from([b"r%d" % number for number in range(12)] + [b"w1"])
steps = st.lists(
    st.tuples(st.just("put"), keys, st.binary(min_size=1, max_size=9))
    | st.tuples(st.just("delete"), keys)
    | st.just(("checkpoint",))
    | st.tuples(st.sampled_from(["freeze", "commit", "flush", "reopen", "crash"])),
    min_size=15,
    max_size=60,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(steps=steps, behind=st.sampled_from([0, 30, 60, 120, 1 << 20]))
def test_reads_like_a_dictionary(tmp_path_factory, monkeypatch, steps, behind):
    monkeypatch.setattr("tidegauge.stream.store.BEHIND_BYTES", behind)
    path = tmp_path_factory.mktemp("store") / "state"
    store = RocksStore(path)
    now, frozen, committed, log = {}, {}, {}, []
    for name, *arguments in steps:
        if name == "put":
            store.put(*arguments)
            now[arguments[0]] = arguments[1]
        elif name == "delete":
            store.delete(*arguments)
            now.pop(arguments[0], None)
        elif name == "freeze" and not frozen:
            frozen = dict(store.freeze())
            snapshot = dict(now)
        elif name == "commit" and frozen:
            log.append(frozen)
            store.commit(len(log))
            frozen, committed = {}, snapshot
        elif name == "checkpoint" and not frozen:
            log.append(dict(store.freeze()))
            store.commit(len(log))
            committed = dict(now)
        elif name == "flush":
            store.flush()
        elif name in ("reopen", "crash"):
            if name == "reopen":
                store.close()
            else:
                store._db.close()
            store = RocksStore(path)
            for position, changes in list(enumerate(log, 1))[store.position or 0 :]:
                store.restore(changes, position)
            now, frozen = dict(committed), {}
        assert store.get_many(list(map(bytes, now))) == list(now.values())
    every = [b"r%d" % number for number in range(12)] + [b"w1"]
    assert store.get_many(every) == [store.get(key) for key in every] == [now.get(key) for key in every]
    assert list(store.scan(b"r")) == sorted((k, v) for k, v in now.items() if k.startswith(b"r"))
    store.flush()
    swept, cursor = {}, b""
    while True:
        pairs, cursor = store.slice(cursor, 12)
        swept.update(pairs)
        if not cursor:
            break
    changed = {**(frozen or {}), **store._active}
    assert {k: v for k, v in swept.items() if k != POSITION} == {k: v for k, v in committed.items() if k not in changed}
    store.close()


def test_an_empty_value_is_refused(tmp_path):
    store = RocksStore(tmp_path)
    with pytest.raises(ValueError, match="empty"):
        store.put(b"r1", b"")
    store.close()


def test_large_changes_are_cut_into_records():
    changes = {b"r%d" % number: bytes(100_000) for number in range(100)} | {b"r5": None}
    records = list(changelog.encode(changes))
    assert max(map(len, records)) < 2 << 20
    assert {k: v for record in records for k, v in changelog.decode(record).items()} == changes
    assert list(changelog.encode({})) == []


def test_state_that_follows_another_changelog_is_deleted(tmp_path):
    store = RocksStore(tmp_path / "state")
    store.claim("one")
    store.restore({b"r1": b"x"}, 7)
    store.close()
    store = RocksStore(tmp_path / "state")
    store.claim("one")
    assert (store.get(b"r1"), store.position) == (b"x", 7)
    store.claim("another")
    assert (store.get(b"r1"), store.position, list(store.scan(b""))) == (None, None, [])
    store.restore({b"r2": b"y"}, 3)
    store.close()
    store = RocksStore(tmp_path / "state")
    store.claim("another")
    assert (store.get(b"r2"), store.position) == (b"y", 3)
