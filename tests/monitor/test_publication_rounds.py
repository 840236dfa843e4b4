"""However the windows that are due at one moment are divided into checkpoints, and whatever restarts come between them, the
same records and alerts are published in the same order."""

from __future__ import annotations

import json
import random
from itertools import chain, zip_longest
from typing import cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES, Output, Record
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.monitor import stage
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

MINUTE = 60.0
MONITORS = (
    MonitorSpec("drift", "data.features.x.mean", "1m", Condition("above", high=1.5), min_count=10, segments=True),
    MonitorSpec("accuracy", "performance.accuracy", "5m", Condition("below", low=0.6), min_count=10, segments=True),
    MonitorSpec("volume", "predictions", "5m", Condition("below", low=190), min_count=1),
)
SPEC = ModelSpec(
    "churn", task="binary", segments=(("region",),), windows=("1m", "5m"), grace=0.0, retention=600.0, label_horizon=600.0,
    monitors=MONITORS,
)  # fmt: skip
EARLIER = msgspec.structs.replace(SPEC, baseline=BaselineSpec(previous=300.0))
"""The same, compared with earlier windows."""
REGIONS, A_MINUTE, MINUTES = 3, 40, 16


def chunks() -> list[tuple[list[bytes], list[bytes]]]:
    """Predictions and labels of half minutes, of two versions in four regions: x drifts and errors grow, labels are late."""
    rng = random.Random(1)
    found: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in range(4 * MINUTES)]
    for number in range(A_MINUTE * MINUTES):
        ts = START + MINUTE * number / A_MINUTE
        minute = number // A_MINUTE
        event = prediction(
            number, ts, prediction=1, score=0.8, features={"x": rng.gauss(3.0 * (minute % 7 == 3), 1.0)},
            segments={"region": f"r{number % REGIONS}"}, model_version=f"churn_xgb:{3 + number % 2}",
        )  # fmt: skip
        late = rng.expovariate(1 / 100)
        label = {"request_id": f"r{number}", "ts": ts + late, "label": int(rng.random() > 0.1 + 0.6 * (minute % 9 > 5))}
        found[number * 2 // A_MINUTE][0].append(json.dumps(event).encode())
        found[min(int((ts + late - START) * 2 / MINUTE), len(found) - 1)][1].append(json.dumps(label).encode())
    return found


CHUNKS = chunks()


def to_monitor(pipeline: Pipeline) -> None:
    """Hand the join's deltas to the monitor, which makes no checkpoint yet."""
    for output in pipeline.joins[0].checkpoint(0.0):
        if output.topic == PROFILES:
            pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])


def said(spec: ModelSpec, most: int, restarts: float, seed: int) -> list[Output]:
    """What the monitor publishes, with so much work at ``most`` in a checkpoint, and restarts between, so probable."""
    rng, pipeline, said = random.Random(seed), Pipeline(None), []
    pipeline.registry.apply(b"churn", encode(ModelRecord("churn", spec)))
    whole = stage.MAX_WORK
    try:
        stage.MAX_WORK = most
        for predictions, labels in CHUNKS:
            pipeline.send(PREDICTIONS, predictions)
            pipeline.send(LABELS, labels)
            to_monitor(pipeline)
            said.extend(pipeline.monitor.checkpoint(0.0))
            while pipeline.monitor.unfinished:
                if rng.random() < restarts:
                    pipeline.restart_monitor()
                said.extend(pipeline.monitor.checkpoint(0.0))
        said.extend(pipeline.monitor.finish())
    finally:
        stage.MAX_WORK = whole
    return said


@pytest.fixture(scope="module", params=[SPEC, EARLIER], ids=["learned", "earlier"])
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return cast("ModelSpec", request.param)


@pytest.fixture(scope="module")
def at_once(spec: ModelSpec) -> list[Output]:
    found = said(spec, 10**6, 0.0, 0)
    assert len({output.topic for output in found}) > 1
    assert sum(b'"firing"' in (output.value or b"") for output in found) > 10
    if spec is EARLIER:
        assert any(b'"source":"previous"' in (output.value or b"") for output in found)
    return found


def ordered(found: list[Output]) -> list[tuple[str, bytes | None, bytes | None]]:
    return [(of.topic, of.key, of.value) for of in found]


def differing(found: list[Output], expected: list[Output]) -> list[object]:
    """The first outputs that differ, if any do."""
    pairs = zip_longest(ordered(found), ordered(expected))
    return next(([one, other] for one, other in pairs if one != other), [])


@pytest.mark.parametrize("most", [1, 10])
def test_a_round_that_is_divided_publishes_the_same_in_the_same_order(
    spec: ModelSpec, at_once: list[Output], most: int
) -> None:
    assert not differing(said(spec, most, 0.0, 0), at_once)


@settings(max_examples=2, deadline=None)
@given(most=st.sampled_from([3, 10, 30]), seed=st.integers(0, 1000))
def test_so_it_does_where_the_task_is_taken_over_in_between(
    spec: ModelSpec, at_once: list[Output], most: int, seed: int
) -> None:
    """Also what is said of labels that no record shows yet, in comparisons of versions and with earlier windows."""
    assert not differing(said(spec, most, 0.3, seed), at_once)


def worked_off(restarts: bool) -> list[tuple[str, bytes | None, bytes | None]]:
    """What the monitor publishes of some minutes that come at once, after which nothing comes."""
    pipeline, said = Pipeline(None), []
    pipeline.registry.apply(b"churn", encode(ModelRecord("churn", SPEC)))
    for predictions, labels in CHUNKS[:16]:
        pipeline.send(PREDICTIONS, predictions)
        pipeline.send(LABELS, labels)
    to_monitor(pipeline)
    said.extend(pipeline.monitor.checkpoint(0.0))
    while pipeline.monitor.unfinished:
        if restarts:
            pipeline.restart_monitor()
        said.extend(pipeline.monitor.checkpoint(0.0))
    return ordered(said)


def test_a_backlog_is_worked_off_after_a_restart_though_nothing_more_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "MAX_WORK", 10)
    expected = worked_off(False)
    assert len(expected) > 10
    assert worked_off(True) == expected


IDLE_MODELS, IDLE_WINDOWS = 5, 30


def said_when_idle(most: int, restarts: bool) -> list[list[Output]]:
    """What each checkpoint of the monitor publishes once the input is idle, with so much work at ``most`` in each. Labels came
    of old windows of several models, too soon after their last revision for another one."""
    pipeline = Pipeline(None, partitions=1)
    for number in range(IDLE_MODELS):
        spec = ModelSpec(f"m{number}", task="binary", windows=("1m",), grace=0.0, monitors=())
        pipeline.registry.apply(spec.model.encode(), encode(ModelRecord(spec.model, spec)))
        ends = [START + MINUTE * window for window in range(IDLE_WINDOWS)]
        rows = [{"request_id": f"{number}-{ts}", "ts": ts, "model": spec.model, "prediction": 1, "score": 0.8} for ts in ends]
        rows.append(rows[-1] | {"request_id": f"{number}-last", "ts": ends[-1] + 2 * MINUTE})
        pipeline.send(PREDICTIONS, [json.dumps(row | {"model_version": f"{spec.model}:1"}).encode() for row in rows])
        pipeline.checkpoint()
        labels = [{"request_id": row["request_id"], "ts": rows[-1]["ts"] + 1, "label": 1} for row in rows[:-1]]
        pipeline.send(LABELS, [json.dumps(label).encode() for label in labels])
    pipeline.checkpoint()
    assert not pipeline.monitor.unfinished
    assert not any(record["labels"] for record in pipeline.records().values())
    whole, found = stage.MAX_WORK, []
    try:
        stage.MAX_WORK = most
        for output in pipeline.joins[0].checkpoint(1.0, idle=True):
            pipeline.monitor.process(output.topic, [Record(0, -1, output.key, output.value)])
        found.append(pipeline.monitor.checkpoint(1.0, idle=True))
        while pipeline.monitor.unfinished:
            if restarts:
                pipeline.restart_monitor()
            found.append(pipeline.monitor.checkpoint(1.0, idle=True))
    finally:
        stage.MAX_WORK = whole
    return found


@pytest.mark.parametrize("restarts", [False, True])
def test_when_the_input_is_idle_changed_windows_are_published_a_few_at_a_time_and_all_of_them(restarts: bool) -> None:
    (at_once,) = said_when_idle(10**6, False)
    divided = said_when_idle(10, restarts)
    # A model that waits publishes a window at least.
    assert max(map(len, divided)) <= 10 + IDLE_MODELS
    assert sorted(ordered(list(chain(*divided)))) == sorted(ordered(at_once))
    records = [json.loads(of.value or b"") for of in at_once]
    assert sum(record["labels"] for record in records) == IDLE_MODELS * IDLE_WINDOWS
