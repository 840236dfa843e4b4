"""A join task says once that it is idle, to whom it matters; from then on the monitor's own clock moves event time, and a
tick of it alone changes nothing that would have to be committed."""

from __future__ import annotations

import json
from typing import Any

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import METRICS, PREDICTIONS, PROFILES, Record


def sent(pipeline: Pipeline, place: int, now: float) -> list[tuple[bytes | None, int | None]]:
    """Checkpoint of an idle join task; key and partition of what it tells the monitor."""
    outputs = [output for output in pipeline.joins[place].checkpoint(now, idle=True) if output.topic == PROFILES]
    for output in outputs:
        pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
    return [(output.key, output.partition) for output in outputs]


def event(number: int, ts: float) -> bytes:
    return json.dumps(prediction(number, ts, score=0.5, prediction=1)).encode()


def test_idle_is_said_once_and_where_a_model_is() -> None:
    pipeline = Pipeline(SPEC, 2)
    assert sent(pipeline, 0, 10.0) == [(None, 0)], "the first word of its life is for every monitor task"
    assert sent(pipeline, 0, 12.0) == []
    pipeline.send(PREDICTIONS, [event(1, START)], partition=0)
    pipeline.checkpoint(0, now=20.0)
    assert sent(pipeline, 0, 30.0) == [(b"churn", None)]
    assert sent(pipeline, 0, 40.0) == sent(pipeline, 0, 90.0) == []
    assert sent(pipeline, 1, 40.0) == [(None, 0)], "it has never seen the model"


def closed(outputs: list[Any]) -> list[str]:
    return [json.loads(o.value)["window_start"] for o in outputs if o.topic == METRICS and not json.loads(o.value)["segment"]]


def test_while_all_are_idle_the_wall_clock_closes_the_last_windows_and_nothing_else_is_written() -> None:
    pipeline = Pipeline(SPEC, 2)
    for place in (0, 1):
        pipeline.send(PREDICTIONS, [event(place, START + 5 + place)], partition=place)
    pipeline.checkpoint(now=100.0)
    assert sent(pipeline, 0, 105.0)
    pipeline.monitor.checkpoint(105.0)
    assert pipeline.monitor.checkpoint(500.0, idle=True) == [], "one of two is not idle"
    assert sent(pipeline, 1, 106.0)
    pipeline.monitor.checkpoint(106.0)
    store = dict(pipeline.monitor._store._data)  # type: ignore[attr-defined]
    for now in (107.0, 120.0, 150.0):
        assert pipeline.monitor.checkpoint(now, idle=True) == []
        assert pipeline.monitor._store._data == store  # type: ignore[attr-defined]
    assert pipeline.monitor.checkpoint(151.0) == [], "nobody has said that nothing is left behind"
    assert closed(pipeline.monitor.checkpoint(170.0, idle=True)) == ["2025-09-27T00:00:00Z"], "START + 6 and 64 s"
    assert pipeline.monitor._store._data != store  # type: ignore[attr-defined]


def test_a_monitor_task_that_begins_again_goes_on_from_how_the_partitions_stand() -> None:
    pipeline = Pipeline(SPEC, 1)
    pipeline.send(PREDICTIONS, [event(1, START + 5)], partition=0)
    pipeline.checkpoint(now=100.0)
    sent(pipeline, 0, 105.0)
    pipeline.monitor.checkpoint(105.0)
    assert pipeline.monitor.checkpoint(150.0, idle=True) == []
    pipeline.restart_monitor()
    assert pipeline.monitor.checkpoint(151.0, idle=True) == []
    assert closed(pipeline.monitor.checkpoint(161.0, idle=True)) == ["2025-09-27T00:00:00Z"]
