"""What a released format has stored is read, or refused with what to do: `support/kept_states.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.driver import Pipeline, numbers
from support.kept_states import DIRECTORY, END, EVENTS, HALF, half_way, load, play, stores
from support.traffic import SPEC
from tidegauge.engine.stage import ALERTS, MemoryStore
from tidegauge.errors import StateError
from tidegauge.join.stage import JoinStage
from tidegauge.monitor.stage import MonitorStage
from tidegauge.stream import state_format

FILES = sorted(DIRECTORY.glob("format-*.msgpack.gz"))


def number(path: Path) -> str:
    return path.name.removeprefix("format-").removesuffix(".msgpack.gz")


def filled(pairs: dict[bytes, bytes]) -> MemoryStore:
    store = MemoryStore()
    store.put_many(pairs)
    return store


def test_there_is_state_of_every_format_up_to_this_versions() -> None:
    assert [number(path) for path in FILES] == [str(of) for of in range(1, int(state_format.FORMAT) + 1)]


@pytest.mark.parametrize("path", FILES, ids=number)
def test_a_kept_state_is_read_or_refused(path: Path) -> None:
    held = {name: filled(pairs) for name, pairs in load(path).items()}
    if number(path) != state_format.FORMAT.decode():
        for name, store in held.items():
            with pytest.raises(StateError, match="tidegauge state rebuild"):
                state_format.check(store, name)
        return
    for name, store in held.items():
        state_format.check(store, name)
    expected, found = half_way(), Pipeline(SPEC, 2)
    found.outputs = list(expected.outputs)
    found.joins = [JoinStage(n, held[f"join-{n}"], found.registry, 1, found.counters) for n in range(2)]
    found.monitor = MonitorStage(held["monitor-0"], found.registry, 2, found.counters)
    for pipeline in (expected, found):
        play(pipeline, EVENTS[HALF:] + END)
        pipeline.finish()
    assert {key: numbers(record) for key, record in found.records().items()} == {
        key: numbers(record) for key, record in expected.records().items()
    }
    assert found.of(ALERTS) == expected.of(ALERTS)
    assert [join.pending for join in found.joins] == [join.pending for join in expected.joins]
    assert stores(found).keys() == held.keys()
