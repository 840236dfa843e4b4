"""No value grows beyond what one record can carry, however wide the model or far ahead one partition."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import orjson

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import MODELS, PREDICTIONS, PROFILES, MemoryStore, Record
from tidegauge.models.registry import MAX_RECORD_BYTES
from tidegauge.monitor.stage import MonitorStage
from tidegauge.spec import DetectorSpec, ModelSpec

MIB = 1 << 20


def predictions(count: int, features: int, segments: int, version: str = "m:1", seed: int = 0) -> list[bytes]:
    """``count`` predictions in ten seconds of event time; request ids do not say the version."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features))
    return [
        orjson.dumps(
            {
                "request_id": f"{seed}-{i}", "ts": START + 10.0 * i / count, "model_version": version, "prediction": 1,
                "score": 0.5, "features": {f"f{k}": float(value) for k, value in enumerate(x[i].tolist())},
                "segments": {"a": f"a{i % segments}"} if segments else {},
            }
        )
        for i in range(count)
    ]  # fmt: skip


def values(stage: MonitorStage) -> dict[bytes, bytes]:
    store: Any = stage._store
    return dict(store.scan(b""))


def test_one_partition_may_be_far_ahead_of_another() -> None:
    spec = ModelSpec("m", task="binary", windows=("1m",), grace=0.0, detectors=(DetectorSpec("scores", "score", "adwin"),))
    events = predictions(12_000, 40, 0)
    ahead, even = Pipeline(spec, 2), Pipeline(spec, 2)
    for begin in range(0, len(events), 600):
        ahead.send(PREDICTIONS, events[begin : begin + 600], 0)
        # The other partition has not read a record yet: all of this has to wait.
        for output in ahead.joins[0].checkpoint(0.0):
            if output.topic == PROFILES:
                ahead.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
        ahead._take(ahead.monitor.checkpoint(0.0))
    held = values(ahead.monitor)
    assert sum(map(len, held.values())) > 4 * MIB
    assert max(map(len, held.values())) < MIB
    # What waits survives a restart.
    store = MemoryStore()
    store.put_many(held)
    ahead.monitor = MonitorStage(store, ahead.registry, 2, Counter())
    assert values(ahead.monitor) == held
    even.send(PREDICTIONS, events)
    for pipeline in (ahead, even):
        pipeline.finish()
    of = [
        {key: (r["predictions"], r["data"]["features"]["f0"]["mean"]) for key, r in p.records().items()} for p in (ahead, even)
    ]
    assert len(of[0]) == 1
    assert of[0].keys() == of[1].keys()
    for key, (count, mean) in of[0].items():
        assert count == 12_000 == of[1][key][0]
        np.testing.assert_allclose(mean, of[1][key][1], rtol=1e-6)


def test_a_wide_model_learns_its_baseline_within_the_bound() -> None:
    pipeline = Pipeline(ModelSpec("m", task="binary", segments=(("a",),), windows=("1m",), grace=0.0))
    events = predictions(6000, 1000, 12)
    for begin in range(0, len(events), 1000):
        pipeline.send(PREDICTIONS, events[begin : begin + 1000])
    pipeline.checkpoint()
    assert max(map(len, values(pipeline.monitor).values())) < 16 * MIB
    pipeline.finish()
    learned = [output.value for output in pipeline.outputs if output.topic == MODELS]
    assert learned
    assert all(value is not None and len(value) <= MAX_RECORD_BYTES for value in learned)


def test_a_record_makes_room_for_a_new_version_by_what_was_unseen_for_longest(monkeypatch: Any) -> None:
    pipeline = Pipeline(ModelSpec("m", task="binary", segments=(("a",),), windows=("1m",), grace=0.0))
    sizes: list[int] = []
    for number in range(3):
        pipeline.send(PREDICTIONS, predictions(5500, 8, 3, f"m:{number}", number))
        pipeline.finish()
        sizes.append(len(pipeline.registry.encoded("m") or b""))
    assert pipeline.registry.baseline_versions("m") == ["m:0", "m:1", "m:2"]
    monkeypatch.setattr("tidegauge.models.registry.MAX_RECORD_BYTES", sizes[1] + 1000)
    pipeline.send(
        PREDICTIONS, [orjson.dumps(json.loads(event) | {"ts": START + 60.0}) for event in predictions(5500, 8, 3, "m:3", 3)]
    )
    pipeline.finish()
    kept = pipeline.registry.baseline_versions("m")
    assert "m:3" in kept
    assert len(kept) == 2
    assert all(pipeline.registry.baseline("m", version).parts for version in kept)  # type: ignore[union-attr]
    monkeypatch.setattr("tidegauge.models.registry.MAX_RECORD_BYTES", sizes[0] * 2 // 3)
    pipeline.send(
        PREDICTIONS, [orjson.dumps(json.loads(event) | {"ts": START + 120.0}) for event in predictions(5500, 8, 3, "m:4", 4)]
    )
    pipeline.finish()
    assert pipeline.registry.baseline_versions("m") == ["m:4"]
