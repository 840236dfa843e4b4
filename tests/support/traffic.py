"""Traffic of one model with errors and late labels, and what `replay` makes of it."""

import json

import pytest

from support.driver import flatten, numbers
from support.events import START, prediction, stream
from tidegauge.engine.stage import LABELS, METRICS, PREDICTIONS
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline.replay import Lines, Replay
from tidegauge.spec import Condition, DetectorSpec, ModelSpec, MonitorSpec

SPEC = ModelSpec(
    "churn",
    task="binary",
    segments=(("region",),),
    windows=("1m", "5m"),
    grace=1.0,
    publish_interval=30.0,
    monitors=(
        MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), min_count=20),
        MonitorSpec("auc", "performance.roc_auc", "5m", Condition("below", low=0.6), min_count=20),
    ),
    detectors=(DetectorSpec("shift", "error", "adwin"),),
)

RECORD = ModelRecord("churn", SPEC)

EXACT = ("predictions", "labels", "performance.", "business.", "count", "_ratio", "psi", "min", "max", "coverage")


def traffic(seed, count):
    """Ten minutes of events with two minutes of errors, and an end that closes every window before it."""
    events = []
    for topic, value in stream(seed, count):
        event = json.loads(value)
        if topic == PREDICTIONS and START + 180 <= event["ts"] < START + 300:
            event |= {"error": "out of memory"}
        events.append((topic, json.dumps(event).encode()))
    end = [(PREDICTIONS, json.dumps(prediction(10**6 + i, START + 7200, score=0.5, prediction=1)).encode()) for i in range(64)]
    return events, end


def replayed(events, tmp_path):
    """The final records of the same events by `replay`."""
    paths = {}
    for topic in (PREDICTIONS, LABELS):
        paths[topic] = tmp_path / f"{topic}.jsonl"
        paths[topic].write_bytes(b"".join(value + b"\n" for kind, value in events if kind == topic))
    registry = Registry()
    registry.apply(b"churn", encode(RECORD))
    found = {}

    def sink(output):
        if output.topic == METRICS:
            found[output.key] = json.loads(output.value)

    Replay(registry, sink).run(Lines(paths[PREDICTIONS]), Lines(paths[LABELS]))
    return found


def assert_same(found, expected):
    """Equal to the last count; sums of floats to rounding, sketches within their rank error where they are one."""
    last = {key for key, record in expected.items() if record["window_start"] >= "2025-09-27T02:00:00Z"}
    assert found.keys() - last == expected.keys() - last
    for key in expected.keys() - last:
        mine, theirs = flatten(numbers(found[key])), flatten(numbers(expected[key]))
        assert mine.keys() == theirs.keys(), key
        for path, value in theirs.items():
            if any(part in path for part in EXACT):
                assert (
                    mine[path] == pytest.approx(value, rel=1e-9, abs=1e-9)
                    if isinstance(value, float)
                    else (mine[path] == value)
                ), (key, path, mine[path], value)
