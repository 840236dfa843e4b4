"""A window of many wide segments is counted and written a bounded part at a time, however it was kept until it closed."""

from __future__ import annotations

import json
import random

import pytest

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import METRICS, PREDICTIONS, PROFILES, Output, Record, Store
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.monitor import stage, windows
from tidegauge.spec import ModelSpec

MINUTE, SEGMENTS, ROWS, FEATURES = 60.0, 24, 150, 20
SPEC = ModelSpec("wide", task="binary", segments=(("shop",),), windows=("1h",), grace=0.0, monitors=())
SEGMENT_BYTES = ROWS * FEATURES * 8


def values(store: Store) -> dict[bytes, bytes]:
    return dict(store.scan(b""))


def event(number: int, ts: float) -> bytes:
    rng = random.Random(number)
    features = {f"f{of}": rng.gauss(0.0, 1.0) for of in range(FEATURES)}
    row = {"request_id": f"r{number}", "ts": ts, "model": "wide", "model_version": "wide:1", "prediction": 1, "score": 0.7}
    return json.dumps(row | {"features": features, "segments": {"shop": f"s{number % SEGMENTS}"}}).encode()


def closed() -> tuple[list[Output], list[int]]:
    """What is said of a window of SEGMENTS segments that came as rows, and how many bytes each checkpoint writes from the one
    on in which it closes."""
    pipeline, said, written = Pipeline(None), [], []
    pipeline.registry.apply(b"wide", encode(ModelRecord("wide", SPEC)))
    for minute in range(50):
        numbers = range(minute * SEGMENTS * ROWS // 50, (minute + 1) * SEGMENTS * ROWS // 50)
        pipeline.send(PREDICTIONS, [event(number, START + MINUTE * minute) for number in numbers])
        pipeline.checkpoint()
    assert pipeline.monitor.windows.log.size > SEGMENTS * SEGMENT_BYTES, "the rows still wait to be counted"
    pipeline.send(PREDICTIONS, [event(10**6, START + 61 * MINUTE)])
    for output in pipeline.joins[0].checkpoint(0.0):
        if output.topic == PROFILES:
            pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
    while pipeline.monitor.unfinished or not written:
        before = values(pipeline.monitor._store)
        said.extend(pipeline.monitor.checkpoint(0.0))
        after = values(pipeline.monitor._store)
        written.append(sum(len(value) for key, value in after.items() if before.get(key) != value))
    return said, written


def test_a_checkpoint_writes_a_bounded_part_of_a_windows_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, whole = closed()
    # As many are counted together as make three segments, or the whole model, which is as large as all of them.
    monkeypatch.setattr(windows, "COUNTED_BYTES", 3 * SEGMENT_BYTES)
    monkeypatch.setattr(stage, "MAX_WORK", 3 * SEGMENT_BYTES // 4096)
    divided, written = closed()
    assert [(of.key, of.value) for of in divided] == [(of.key, of.value) for of in at_once]
    assert sum(of.topic == METRICS for of in at_once) == SEGMENTS + 1
    assert max(whole) > 2 * SEGMENTS * SEGMENT_BYTES
    assert max(written) < 1.5 * SEGMENTS * SEGMENT_BYTES
    assert sorted(written)[-2] < 6 * SEGMENT_BYTES
    assert len(written) >= SEGMENTS // 3
