"""A stage that lags says what it would have said live: the same alerts, of the same windows, at the same event time."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START
from support.half_an_hour import MINUTE, MONITORS, Events, make, replayed_alerts, transitions, watched
from support.rekeyed import RekeyedInputs
from tidegauge.engine.stage import ALERTS, AS_TAKEN, LABELS, PREDICTIONS, MemoryStore
from tidegauge.join.progress import TaskProgress
from tidegauge.metrics.record import iso
from tidegauge.models.registry import ModelRecord, encode


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> ModelRecord:
    return watched(tmp_path_factory.mktemp("reference"))


def lagging(record: ModelRecord, events: Events, partitions: int, chunk: int, seed: int) -> list[dict[str, Any]]:
    """The alerts where each join partition reads its two topics in chunks of up to ``chunk`` records, in any order."""
    rng = random.Random(seed)
    pipeline = Pipeline(None, partitions)
    pipeline.registry.apply(b"churn", encode(record))
    queues: dict[tuple[int, str], list[bytes]] = {(p, topic): [] for p in range(partitions) for topic in (PREDICTIONS, LABELS)}
    for _, topic, value in events:
        place = zlib.crc32(json.loads(value)["request_id"].encode()) % partitions
        queues[place, topic].append(value)
    while any(queues.values()):
        place, topic = rng.choice([name for name, queue in queues.items() if queue])
        queue = queues[place, topic]
        pipeline.send(topic, [queue.pop(0) for _ in range(min(chunk, len(queue)))], place)
        if rng.random() < 0.7 or chunk > len(events):
            pipeline.checkpoint(place, behind={of: AS_TAKEN for of in (PREDICTIONS, LABELS) if queues[place, of]})
    pipeline.finish()
    return pipeline.of(ALERTS)


def rekeyed(record: ModelRecord, events: Events, sources: tuple[int, int], chunk: int, seed: int) -> list[dict[str, Any]]:
    """The alerts where events lie in any of so many input partitions, which are re-keyed in any order, and then joined."""
    rng = random.Random(seed)
    inputs, pipeline = RekeyedInputs(sources, 2), Pipeline(None, 2)
    pipeline.registry.apply(b"churn", encode(record))
    for ts, topic, value in events:
        inputs.write(topic, rng.randrange(len(inputs.sources[topic])), ts, value)
    while not inputs.done:
        topic, place = rng.choice((PREDICTIONS, LABELS)), rng.randrange(2)
        what = rng.choice(("rekey", "commit", "look", "join"))
        if what == "rekey":
            inputs.rekey(topic, rng.randrange(len(inputs.sources[topic])), chunk)
        elif what == "commit":
            inputs.commit(topic, rng.randrange(len(inputs.sources[topic])))
        elif what == "look":
            inputs.look()
        elif values := inputs.join(topic, place, chunk):
            pipeline.send(topic, values, place)
            pipeline.checkpoint(place, behind=inputs.followed[place].behind)
        inputs.step += 1
    pipeline.finish()
    return pipeline.of(ALERTS)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), partitions=st.integers(1, 3), chunk=st.sampled_from([40, 400, 10**6]))
def test_alerts_do_not_depend_on_lag(record: ModelRecord, tmp_path: Path, seed: int, partitions: int, chunk: int) -> None:
    events = make(seed % 3)
    expected = replayed_alerts(record, events, tmp_path)
    assert {a["data"]["labels"]["alertname"] for a in expected} == {m.name for m in MONITORS}
    found = lagging(record, events, partitions, chunk, seed)
    assert transitions(found) == transitions(expected)
    assert transitions(found, early=True) == transitions(expected, early=True)
    for alert in found:
        assert alert["time"] > alert["data"]["window"]["start"]


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    sources=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    chunk=st.sampled_from([40, 400, 10**6]),
)
def test_alerts_do_not_depend_on_how_inputs_are_rekeyed(
    record: ModelRecord, tmp_path: Path, seed: int, sources: tuple[int, int], chunk: int
) -> None:
    events = make(seed % 3)
    expected, found = replayed_alerts(record, events, tmp_path), rekeyed(record, events, sources, chunk, seed)
    assert transitions(found) == transitions(expected)
    assert transitions(found, early=True) == transitions(expected, early=True)


def test_the_label_feed_is_missed_when_it_stops_and_not_before(record: ModelRecord) -> None:
    """The feed stops at minute 22: whatever was read when, no window before that lacks its labels."""
    alerts = lagging(record, make(1), 2, 300, 5)
    fired = [a for a in alerts if a["data"]["labels"]["alertname"] == "label-feed" and a["data"]["status"] == "firing"]
    assert fired
    assert all(a["data"]["window"]["start"] >= iso(START + 20 * MINUTE) for a in fired)
    assert all(a["time"] >= iso(START + 22 * MINUTE) for a in fired)


def test_where_no_label_has_come_yet_event_time_goes_on_to_where_all_was_last_read() -> None:
    store = MemoryStore()
    progress = TaskProgress(store)
    both = {PREDICTIONS: AS_TAKEN, LABELS: AS_TAKEN}
    progress.predicted("m", 100.0)
    assert progress.to_tell(both) == {"m": (100.0, 0.0, 0.0)}
    assert progress.to_tell({PREDICTIONS: AS_TAKEN}) == {"m": (100.0, 0.0, 100.0)}
    progress.predicted("m", 200.0)
    assert progress.to_tell(both) == {"m": (200.0, 0.0, 100.0)}
    # What is known survives a restart.
    progress = TaskProgress(store)
    progress.predicted("m", 300.0)
    assert progress.to_tell(both) == {"m": (300.0, 0.0, 100.0)}
    assert progress.to_tell({}) == {"m": (300.0, 0.0, float("inf"))}


def test_whoever_takes_a_task_over_tells_the_event_time_that_was_held_back_though_no_event_follows() -> None:
    """Event time that waits for inputs which are re-keyed comes after the last event, perhaps after a restart."""
    store = MemoryStore()
    progress = TaskProgress(store)
    progress.predicted("m", 100.0)
    assert progress.to_tell({PREDICTIONS: 40.0, LABELS: 40.0}) == {"m": (40.0, 0.0, 40.0)}
    progress = TaskProgress(store)
    assert progress.to_tell({PREDICTIONS: 100.0, LABELS: 100.0}) == {"m": (100.0, 0.0, 100.0)}
    # What has been told is not said again by the next one.
    assert TaskProgress(store).to_tell({PREDICTIONS: 100.0, LABELS: 100.0}) == {}
