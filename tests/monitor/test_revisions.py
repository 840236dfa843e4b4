"""A record is published only where its own numbers changed, ever more rarely as its window grows old, and at last always."""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from support.driver import Pipeline, numbers
from support.events import START, prediction
from tidegauge.engine.stage import LABELS, METRICS, PREDICTIONS, Record
from tidegauge.metrics.record import iso
from tidegauge.monitor import window_records
from tidegauge.monitor.stage import MonitorStage
from tidegauge.profile.data import DataProfile
from tidegauge.spec import ModelSpec

HOUR = 3600.0
SPEC = ModelSpec(
    "churn", task="binary", segments=(("region",),), windows=("1h",), grace=0.0, label_horizon=12 * HOUR, retention=14 * HOUR
)
INTERVAL = HOUR / 24
Said = dict[bytes, list[tuple[float, dict[str, Any]]]]


def played(restarts: float = 0.0, spec: ModelSpec = SPEC) -> tuple[Pipeline, Said]:
    """300 requests of two hours in three regions, labels up to ten hours later, and a prediction an interval to move time on;
    the event time and the record of every revision."""
    rng = random.Random(7)
    events: list[tuple[float, str, dict[str, Any]]] = []
    for number in range(300):
        ts = START + 2 * HOUR * number / 300
        score, region = rng.random(), rng.choice(["eu", "us", "us", "us", "ap"])
        event = prediction(number, ts, prediction=int(score > 0.5), score=score, features={"x": rng.gauss(0, 1)})
        events.append((ts, PREDICTIONS, event | {"segments": {"region": region}}))
        known = ts + min(rng.expovariate(1 / (3 * HOUR)), 10 * HOUR)
        events.append((known, LABELS, {"request_id": f"r{number}", "ts": known, "label": int(rng.random() < score)}))
    for number in range(13 * 24):
        ts = START + 2 * HOUR + INTERVAL * number
        events.append((ts, PREDICTIONS, prediction(10_000 + number, ts, prediction=0, score=0.1)))
    pipeline, said = Pipeline(spec), defaultdict(list)
    for _, topic, event in sorted(events, key=lambda of: of[0]):
        pipeline.send(topic, [json.dumps(event).encode()])
        before = len(pipeline.outputs)
        pipeline.checkpoint()
        for output in pipeline.outputs[before:]:
            if output.topic == METRICS and output.key and output.value:
                record = json.loads(output.value)
                said[output.key].append((published_at(pipeline, record), record))
        if rng.random() < restarts:
            pipeline.monitor = MonitorStage(pipeline.monitor._store, pipeline.registry, 1, pipeline.counters)
    return pipeline, said


def published_at(pipeline: Pipeline, record: dict[str, Any]) -> float:
    """Event time of the newest revision of a record."""
    for header in pipeline.monitor.windows.headers.values():
        if iso(header.start) == record["window_start"]:
            return header.records[tuple(record["segment"].items())].published
    return math.inf


def early_windows(said: Said) -> Said:
    """The records of the two hours of which labels come late."""
    ends = {"2025-09-27T01:00:00Z", "2025-09-27T02:00:00Z"}
    return {key: of for key, of in said.items() if of[0][1]["window_end"] in ends}


@pytest.fixture(scope="module")
def run() -> tuple[Pipeline, Said]:
    return played()


def test_revisions_of_a_record_are_numbered_by_themselves(run: tuple[Pipeline, Said]) -> None:
    for revisions in run[1].values():
        assert [record["revision"] for _, record in revisions] == list(range(1, len(revisions) + 1))


def test_a_record_waits_for_the_interval_and_a_share_of_its_windows_age(run: tuple[Pipeline, Said]) -> None:
    """A quarter of it, and a segment's for half of it."""
    waited = {True: 0, False: 0}
    shortest = {True: math.inf, False: math.inf}
    for revisions in early_windows(run[1]).values():
        end = START + HOUR * (1 if revisions[0][1]["window_end"].endswith("01:00:00Z") else 2)
        for (before, _), (at, record) in pairwise(revisions):
            if record["reason"] == "labels" and not before < end + SPEC.label_horizon <= at:
                whole = not record["segment"]
                assert at - before >= max(INTERVAL, (at - end) / (4 if whole else 2))
                waited[whole] += 1
                if at - end > 6 * INTERVAL:
                    shortest[whole] = min(shortest[whole], (at - before) / (at - end))
    assert min(waited.values()) > 20
    # No longer either, where labels come all the time.
    assert shortest[True] < 0.3
    assert shortest[False] < 0.6


def test_a_record_is_published_again_only_if_its_own_numbers_changed(run: tuple[Pipeline, Said]) -> None:
    for revisions in early_windows(run[1]).values():
        for (_, before), (_, record) in pairwise(revisions):
            if record["reason"] != "settled":
                assert numbers(before) != numbers(record)
    sizes = {record["segment"].get("region"): len(of) for of in early_windows(run[1]).values() for _, record in of[:1]}
    assert sizes["ap"] < sizes[None]


def test_a_late_label_is_published_at_last_even_if_nothing_ends(run: tuple[Pipeline, Said]) -> None:
    """The stream goes on past the label horizon: what is newest of each window says all its labels, without an end of input."""
    pipeline, said = run
    newest = {key: of[-1][1] for key, of in early_windows(said).items()}
    whole = [record for record in newest.values() if not record["segment"]]
    assert sum(record["labels"] for record in whole) == 300
    assert sum(record["labels"] for record in newest.values() if record["segment"]) == 300
    before = len(pipeline.outputs)
    pipeline.finish()
    ended = [json.loads(o.value) for o in pipeline.outputs[before:] if o.topic == METRICS and o.value]
    assert not [r for r in ended if r["window_end"] in ("2025-09-27T01:00:00Z", "2025-09-27T02:00:00Z")]


def test_restarts_change_no_revision(run: tuple[Pipeline, Said]) -> None:
    _, again = played(restarts=0.1)
    assert again == run[1]


def test_what_labels_leave_alone_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sides are made when a window closes, and again only after predictions that came late."""
    made: list[DataProfile] = []
    original = window_records.records.data_side

    def noted(data: DataProfile, *arguments: Any, **named: Any) -> dict[str, Any]:
        made.append(data)
        return original(data, *arguments, **named)

    monkeypatch.setattr(window_records.records, "data_side", noted)
    _, said = played()
    revisions = sum(len(of) for of in said.values())
    assert len(made) < 2 * len(said)
    assert revisions > 1.5 * len(said)


def test_an_idle_stream_says_all_it_knows() -> None:
    pipeline = Pipeline(SPEC)
    events = [(PREDICTIONS, prediction(number, START + number, prediction=1, score=0.7)) for number in range(5)]
    events += [(PREDICTIONS, prediction(9, START + HOUR + 1, prediction=1, score=0.7))]
    events += [(LABELS, {"request_id": f"r{number}", "ts": START + HOUR + 2 + number, "label": 1}) for number in range(5)]
    for topic, event in events:
        pipeline.send(topic, [json.dumps(event).encode()])
        pipeline.checkpoint()
    whole = [r for r in pipeline.records().values() if not r["segment"] and r["window_end"].endswith("01:00:00Z")]
    assert [r["labels"] for r in whole] == [0]
    for now in (1.0, 2.0):
        for output in pipeline.joins[0].checkpoint(now, idle=True):
            pipeline.monitor.process(output.topic, [Record(0, -1, output.key, output.value)])
        pipeline._take(pipeline.monitor.checkpoint(now))
    whole = [r for r in pipeline.records().values() if not r["segment"] and r["window_end"].endswith("01:00:00Z")]
    assert [(r["labels"], r["reason"]) for r in whole] == [(5, "end")]
