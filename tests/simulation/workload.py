"""A tiny stream of one model, spread over two partitions, with all that can happen to labels; and what `replay` makes of it."""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from support.driver import flatten, numbers
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, LABELS, METRICS, PREDICTIONS, Output
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline.replay import Lines, Replay
from tidegauge.spec import Condition, ModelSpec, MonitorSpec
from tidegauge.stream.partitioning import partition_of

PARTITIONS = 2
INPUT_PARTITIONS = {PREDICTIONS: 3, LABELS: 2}
"""The partitions of inputs that are re-keyed to PARTITIONS."""
SPEC = ModelSpec(
    "churn",
    task="binary",
    windows=("1m",),
    grace=1.0,
    label_horizon=3600.0,
    monitors=(
        MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), min_count=2),
        MonitorSpec("accuracy", "performance.accuracy", "1m", Condition("below", low=0.4), min_count=2),
    ),
)
END = START + 7200.0
"""When the events come that close all windows; their own window stays open."""
_LAST = "2025-09-27T02:00:00Z"


class Event(NamedTuple):
    """An input event, and the partition of its topic that it goes to."""

    topic: str
    partition: int
    value: bytes


class Transition(NamedTuple):
    """A change of an alert, without what depends on when it was published."""

    id: str
    status: str
    starts: str


class Result(NamedTuple):
    """The newest revision of every record whose window is closed, and all transitions of alerts in order."""

    records: dict[bytes, dict[str, Any]]
    transitions: list[Transition]


def registry() -> Registry:
    made = Registry()
    made.apply(SPEC.model.encode(), encode(ModelRecord(SPEC.model, SPEC)))
    return made


@functools.cache
def events(seed: int) -> tuple[Event, ...]:
    """Up to 30 events of two minutes in time order, and one more a partition that closes their windows. Those of one seed in
    four have scores and features; profiles of these cost as much as all else."""
    draws = random.Random(seed)
    timed: list[tuple[float, str, dict[str, Any]]] = []
    for number in range(draws.randint(4, 10)):
        ts = START + round(draws.random() * 120, 3)
        score = round(draws.random(), 3)
        event = prediction(number, ts, prediction=int(score > 0.5))
        if seed % 4 == 0:
            event |= {"score": score, "features": {"age": draws.randint(18, 80)}}
        if ts - START >= 60 and draws.random() < 0.8:
            event["error"] = "out of memory"
        timed.append((ts, PREDICTIONS, event))
        if draws.random() < 0.2:
            timed.append((ts + 1, PREDICTIONS, event))
        if draws.random() < 0.9:
            known = ts + draws.choice([-20.0, 1.0, 30.0, 120.0])
            label = {"request_id": f"r{number}", "ts": known, "label": draws.randint(0, 1)}
            timed.append((known, LABELS, label))
            if draws.random() < 0.25:
                timed.append((known + 40, LABELS, label | {"ts": known + 40, "label": 1 - label["label"]}))
    timed.sort(key=lambda event: event[0])
    made = [Event(topic, partition_of(event["request_id"].encode(), PARTITIONS), _json(event)) for _, topic, event in timed]
    closing = {}
    for number in range(10**6, 10**6 + 20):
        event = prediction(number, END, prediction=1)
        closing[partition_of(event["request_id"].encode(), PARTITIONS)] = _json(event)
    return (*made, *(Event(PREDICTIONS, partition, value) for partition, value in sorted(closing.items())))


def _json(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


@functools.cache
def replayed(seed: int) -> Result:
    """What `replay` makes of the events."""
    outputs: list[Output] = []
    with tempfile.TemporaryDirectory() as directory:
        files = {topic: Path(directory) / f"{topic}.jsonl" for topic in (PREDICTIONS, LABELS)}
        for topic, path in files.items():
            path.write_bytes(b"".join(event.value + b"\n" for event in events(seed) if event.topic == topic))
        Replay(registry(), outputs.append).run(Lines(files[PREDICTIONS]), Lines(files[LABELS]))
    return result([(output.topic, output.key, output.value) for output in outputs])


def result(outputs: Sequence[tuple[str, bytes | None, bytes | None]]) -> Result:
    """The result that records (topic, key, value) are of."""
    records, transitions = {}, []
    for topic, key, value in outputs:
        if topic == METRICS and key is not None and value is not None:
            record = json.loads(value)
            if record["window_start"] < _LAST:
                records[key] = record
        elif topic == ALERTS and value is not None:
            event = json.loads(value)
            if event["data"]["window"]["start"] >= _LAST:
                continue
            transitions.append(Transition(event["id"], event["data"]["status"], event["data"]["starts_at"]))
    return Result(records, transitions)


def differences(found: Result, expected: Result) -> list[str]:
    """What is not as expected, in words. Sums of floats may differ by their rounding."""
    said = [f"record {key!r} is missing" for key in expected.records.keys() - found.records.keys()]
    said += [f"record {key!r} is not expected" for key in found.records.keys() - expected.records.keys()]
    for key in expected.records.keys() & found.records.keys():
        mine, theirs = flatten(numbers(found.records[key])), flatten(numbers(expected.records[key]))
        for path in mine.keys() | theirs.keys():
            one, other = mine.get(path), theirs.get(path)
            close = isinstance(one, float) and isinstance(other, float | int) and abs(one - other) <= 1e-9 * max(1, abs(other))
            if one != other and not close:
                said.append(f"{key!r}{path} is {one!r}, not {other!r}")
    if sorted(found.transitions) != sorted(expected.transitions):
        said.append(f"alerts are {sorted(found.transitions)}, not {sorted(expected.transitions)}")
    return sorted(said)
