"""How open windows stand is published while they are beyond a limit: true, seldom, and taken back when they close."""

from __future__ import annotations

import json
import random
from datetime import datetime
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from support.schemas import mistakes
from tidegauge.engine.stage import METRICS, OPEN_WINDOWS, PREDICTIONS
from tidegauge.metrics.record import iso
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

WINDOW, INTERVAL = 300.0, 30.0
MISSING = MonitorSpec(
    "missing", "data.features.*.missing_ratio", "5m", Condition("above", high=0.3), min_count=20, segments=True
)  # fmt: skip
SPEC = ModelSpec(
    "churn", task="binary", segments=(("region",),), windows=("5m",), grace=0.0, baseline=BaselineSpec(first=100),
    monitors=(MISSING,), publish_interval=INTERVAL,
)  # fmt: skip


def rows(seed: int, faults: list[tuple[int, int]], count: int = 600) -> list[dict[str, Any]]:
    """Predictions, one every 2 s; those whose number lies in a range of ``faults`` lack their feature, in region eu only where
    the number is odd."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        region = rng.choice(["eu", "us"])
        lacking = any(low <= number < high for low, high in faults) and (region == "eu" or number % 2 == 0)
        features = {"age": None if lacking else rng.gauss(40, 10)}
        event = prediction(number, START + 2.0 * number, score=rng.random(), features=features, segments={"region": region})
        found.append(event)
    return found


def played(events: list[dict[str, Any]], step: int, restart_at: int = -1) -> Pipeline:
    pipeline = Pipeline(SPEC)
    for place in range(0, len(events), step):
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events[place : place + step]])
        pipeline.checkpoint()
        if place <= restart_at < place + step:
            pipeline.restart_monitor()
    return pipeline


def told(pipeline: Pipeline) -> list[tuple[list[Any], dict[str, Any] | None]]:
    """The key of each record about an open window, and the record; None if it takes the window back."""
    found = [(json.loads(o.key or b""), o.value) for o in pipeline.outputs if o.topic == OPEN_WINDOWS]
    return [(key, None if value is None else json.loads(value)) for key, value in found]


def test_nothing_is_said_of_windows_within_their_limits() -> None:
    pipeline = played(rows(1, []), 20)
    pipeline.finish()
    assert told(pipeline) == []
    assert pipeline.of(METRICS)


@settings(max_examples=8)
@given(st.integers(0, 99), st.integers(0, 400), st.integers(60, 200), st.integers(1, 40))
def test_it_says_what_a_count_of_the_rows_so_far_says(seed: int, begin: int, length: int, step: int) -> None:
    events = rows(seed, [(begin, begin + length)])
    for key, record in told(played(events, step)):
        if record is None:
            continue
        mine = [
            event for event in events
            if record["window_start"] <= iso(event["ts"]) <= record["as_of"]
            and all(event["segments"][of] == value for of, value in record["segment"].items())
        ]  # fmt: skip
        assert key == [record[of] for of in ("model", "model_version", "segment", "window", "window_start")]
        assert record["closed"] is False
        assert record["predictions"] == len(mine)
        lacking = sum(event["features"]["age"] is None for event in mine)
        assert record["data"]["features"]["age"]["missing_ratio"] == lacking / len(mine)
        assert mistakes("open-window", record) == []


def test_it_is_said_again_no_sooner_than_the_publish_interval_and_taken_back_once() -> None:
    pipeline = played(rows(2, [(100, 400)]), 5)
    pipeline.finish()
    by_key: dict[str, list[dict[str, Any] | None]] = {}
    for key, record in told(pipeline):
        by_key.setdefault(json.dumps(key), []).append(record)
    # Four windows of 150 predictions, of which the fault touches the first three.
    assert {json.loads(key)[4] for key in by_key} == {iso(START + WINDOW * number) for number in range(3)}
    assert {json.dumps(json.loads(key)[2]) for key in by_key} == {"{}", '{"region": "eu"}', '{"region": "us"}'}
    for records in by_key.values():
        *standing, last = records
        assert last is None
        times = [seconds(record["as_of"]) for record in standing if record is not None]
        assert len(times) == len(standing)
        assert all(later - earlier >= INTERVAL for earlier, later in pairwise(times))
    assert max(len(records) for records in by_key.values()) > WINDOW / INTERVAL / 2
    assert all(record["closed"] for record in pipeline.of(METRICS))


@settings(max_examples=4)
@given(st.integers(0, 599))
def test_a_restart_says_nothing_twice(place: int) -> None:
    events = rows(3, [(100, 400)])
    assert told(played(events, 7, restart_at=place)) == told(played(events, 7))


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
