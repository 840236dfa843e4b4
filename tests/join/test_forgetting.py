"""A request that is forgotten: nothing in any store names it any more, the counts it went into stay, and nothing comes back."""

from __future__ import annotations

import json
import random
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import SPEC, Pipeline, numbers
from support.events import START, prediction, stream
from tidegauge.engine import delta
from tidegauge.engine.forgotten import digest_of
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS, PROFILES, Record
from tidegauge.engine.traces import Traces
from tidegauge.spec import Condition, ImpliedLabelSpec, MonitorSpec

END = START + 3600


def forget(*names: str, ts: float = END) -> list[bytes]:
    return [json.dumps({"request_id": name, "ts": ts, "forget": True}).encode() for name in names]


def names(pipeline: Pipeline, name: str) -> list[bytes]:
    """Keys of the pairs, in any task's store, that have the name among their bytes."""
    stores = [of._store for of in (*pipeline.joins, pipeline.monitor)]
    return [key for store in stores for key, raw in store.items() if name.encode() in key + raw]


def renamed(events: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The same with request ids that no other bytes look like."""
    return [(topic, re.sub(rb'"request_id": "r(\d+)"', rb'"request_id": "request-\1-"', value)) for topic, value in events]


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), partitions=st.integers(1, 3), restart=st.booleans())
def test_nothing_names_it_and_all_is_counted(seed: int, partitions: int, restart: bool) -> None:
    rng = random.Random(seed)
    spec = msgspec.structs.replace(
        SPEC, monitors=(MonitorSpec("late", "system.latency_ms.p95", "1m", Condition("above", high=1.0), min_count=5),)
    )
    events = renamed(stream(seed, 60, 3.0))
    asked = [f"request-{number}-" for number in rng.sample(range(60), 20)]
    ends = [(PREDICTIONS, json.dumps(prediction(9000 + number, END, score=0.5)).encode()) for number in range(20)]
    told, other = Pipeline(spec, partitions), Pipeline(spec, partitions)
    for pipeline in (told, other):
        cut = rng.randrange(len(events)) if pipeline is told else len(events)
        for topic, value in events[:cut]:
            pipeline.send(topic, [value])
        # Some lie in the monitor's windows by now, some in rows, some are parts that wait, some are still with the join.
        pipeline.checkpoint(rng.randrange(partitions))
        for topic, value in events[cut:]:
            pipeline.send(topic, [value])
    told.send(LABELS, forget(*asked))
    told.checkpoint()
    other.checkpoint()
    assert [name for name in asked if names(told, name)] == []
    assert all(of.pending >= 0 for of in told.joins)
    if restart:
        told.restart_monitor()
    for pipeline in (told, other):
        for topic, value in ends:
            pipeline.send(topic, [value])
        pipeline.finish()
    assert {key: numbers(of) for key, of in told.records().items()} == {key: numbers(of) for key, of in other.records().items()}
    assert [name for name in asked if names(told, name)] == []


def test_an_alert_that_fires_names_others() -> None:
    spec = msgspec.structs.replace(
        SPEC,
        monitors=(MonitorSpec("failed", "system.error_ratio", "1m", Condition("above", high=0.01), min_count=2, early=True),),
    )
    events = [json.dumps(prediction(number, START + number, error="no")).encode() for number in range(10)]
    pipeline = Pipeline(spec)
    pipeline.send(PREDICTIONS, events[:5])
    pipeline.checkpoint()
    (fired,) = pipeline.of(ALERTS)
    assert fired["data"]["evidence"]["request_ids"] == [f"r{number}" for number in range(5)]
    pipeline.send(LABELS, forget("r1", "r3"))
    pipeline.checkpoint()
    (state,) = pipeline.monitor.alerts._states.values()
    assert state.data["evidence"]["request_ids"] == ["r0", "r2", "r4"]
    pipeline.restart_monitor()
    pipeline.send(PREDICTIONS, events[5:])
    pipeline.finish()
    (state,) = pipeline.monitor.alerts._states.values()
    assert {"r1", "r3"}.isdisjoint(state.data["evidence"]["request_ids"])


def test_what_comes_later_under_its_id_is_left_out_also_after_a_restart() -> None:
    pipeline = Pipeline()
    event = json.dumps(prediction(1, START, prediction=1, score=0.9)).encode()
    pipeline.send(PREDICTIONS, [event])
    pipeline.send(LABELS, forget("r1", ts=START + 1))
    pipeline.checkpoint()
    assert pipeline.joins[0].pending == 0
    again = pipeline.joins[0].__class__(0, pipeline.joins[0]._store, pipeline.registry, 1, pipeline.counters)
    pipeline.joins[0] = again
    pipeline.send(PREDICTIONS, [event])
    pipeline.send(LABELS, [json.dumps({"request_id": "r1", "ts": START + 2, "label": 1}).encode()])
    pipeline.send(PREDICTIONS, [json.dumps(prediction(2, START + 3, prediction=1, score=0.9)).encode()])
    pipeline.finish()
    whole = [of for of in pipeline.records().values() if of["window"] == "1m" and not of["segment"]]
    assert [(of["predictions"], of["labels"]) for of in whole] == [(2, 0)]
    assert pipeline.counters["forgotten", "requests"] == 1
    assert (pipeline.counters["forgotten", PREDICTIONS], pipeline.counters["forgotten", LABELS]) == (1, 1)


def test_the_implied_label_of_a_forgotten_request_is_not_waited_for() -> None:
    spec = msgspec.structs.replace(SPEC, labels=ImpliedLabelSpec(missing_after=60.0, means="0"))
    pipeline = Pipeline(spec)
    pipeline.send(PREDICTIONS, [json.dumps(prediction(number, START, prediction=1, score=0.9)).encode() for number in (11, 12)])
    pipeline.send(LABELS, forget("r11", ts=START + 1))
    assert not names(pipeline, "r11")
    pipeline.send(PREDICTIONS, [json.dumps(prediction(13, START + 600)).encode()])
    pipeline.finish()
    assert pipeline.counters["implied", LABELS] == 1


def test_the_trace_context_of_a_forgotten_request_goes_from_both_stages() -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    pipeline = Pipeline()
    event = json.dumps(prediction(21, START, error="no")).encode()
    pipeline.joins[0].process(PREDICTIONS, [Record(0, -1, None, event, (("traceparent", parent.encode()),))])
    pipeline.checkpoint()
    served = pipeline.monitor.traffic["churn", "churn_xgb:3"]
    assert served.failed == parent[3:35]
    assert Traces(pipeline.monitor._store).of(["r21"]) == {"r21": parent}
    pipeline.send(LABELS, forget("r21"))
    pipeline.checkpoint()
    assert served.failed is None
    assert not names(pipeline, "r21")
    assert not names(pipeline, parent[3:35])


def test_every_monitor_task_is_told_after_what_was_said_of_it() -> None:
    pipeline = Pipeline()
    stage = pipeline.joins[0].__class__(0, pipeline.joins[0]._store, pipeline.registry, 3, pipeline.counters)
    stage.process(PREDICTIONS, [Record(0, -1, None, json.dumps(prediction(1, START)).encode())])
    stage.process(LABELS, [Record(0, -1, None, forget("r1")[0])])
    said = [
        (of.partition, delta.decode(of.value).forgotten) for of in stage.checkpoint(0.0) if of.topic == PROFILES and of.value
    ]
    assert said == [(None, ()), (0, ("r1",)), (1, ("r1",)), (2, ("r1",))]


def test_digests_go_with_the_sweep() -> None:
    pipeline = Pipeline()
    stage = pipeline.joins[0]
    pipeline.send(LABELS, forget("r1", ts=START))
    late = json.dumps(prediction(2, START + SPEC.label_horizon + 2 * 86400.0)).encode()
    pipeline.send(PREDICTIONS, [late])
    pipeline.checkpoint()
    digest = b"f" + digest_of("r1")
    assert digest in stage.expired(dict(stage._store.items()))


@pytest.mark.parametrize("asked", ['"yes"', "1", "null"])
def test_asked_for_in_another_way_it_is_a_dead_letter(asked: str) -> None:
    pipeline = Pipeline()
    pipeline.send(LABELS, [b'{"request_id": "r1", "ts": 5, "forget": %s}' % asked.encode()])
    pipeline.finish()
    assert not names(pipeline, "r1")
    assert sum(count for (name, _), count in pipeline.counters.items() if name == "dead_lettered") == 1
