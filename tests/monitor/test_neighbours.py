"""What one model's flood does to another model that shares its partitions: nothing that its alerts would show."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from support.driver import Pipeline
from support.events import START
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, METRICS, PREDICTIONS, PROFILES, Output, Record
from tidegauge.join.contexts import MAX_SEGMENT_VALUES, MAX_VERSIONS
from tidegauge.metrics.record import iso
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.monitor import window_records
from tidegauge.monitor.stage import MAX_WORK
from tidegauge.monitor.work_pieces import BYTES_A_PIECE
from tidegauge.spec import Condition, ModelSpec, MonitorSpec

ERRORS = MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), min_count=20)
QUIET = ModelSpec("quiet", task="binary", windows=("1m",), grace=0.0, monitors=(ERRORS,))
FLOOD = ModelSpec("flood", task="binary", segments=(("region",), ("plan",)), windows=("1m", "5m"), grace=0.0)
STEP, STEPS = 10, 60
"""Seconds of event time between two chunks of the quiet model, and how many chunks it sends."""
BAD_FROM, BURST_AT = 30, 29
"""The chunks of the quiet model from which it errs, and before which the flood comes."""
CHUNK = 50_000
"""The events of the flood that come together; a join task makes a checkpoint after as many."""
CLOSING = 2 * (MAX_SEGMENT_VALUES + 1) + 1
"""The most records of one of the flooding model's windows: two dimensions, the whole model."""
WIDE = 400
"""The features of a model whose records are large."""


def quiet_events(step: int, version: str = "quiet:1") -> list[bytes]:
    """Twenty predictions in STEP seconds, of which from BAD_FROM on every second one fails."""
    events = []
    for number in range(20):
        ts = START + STEP * (step + number / 20)
        event = {"request_id": f"q{step}-{number}", "ts": ts, "model": "quiet", "model_version": version, "prediction": 1}
        events.append(event | ({"error": "boom"} if step >= BAD_FROM and number % 2 else {}))
    return [json.dumps(event).encode() for event in events]


def burst(count: int, models: int, minutes: float) -> list[bytes]:
    """So many predictions of the minutes before the quiet model goes bad, with as many values of segments as are kept."""
    events = []
    for number in range(count):
        ts = START + STEP * BURST_AT - 60 * minutes * (1 - number / count)
        model = f"flood{number % models}"
        place = number // models
        segments = {"region": f"r{place % MAX_SEGMENT_VALUES}", "plan": f"p{place // MAX_SEGMENT_VALUES % MAX_SEGMENT_VALUES}"}
        events.append(
            {"request_id": f"f{number}", "ts": ts, "model": model, "model_version": f"{model}:1", "prediction": 1,
             "segments": segments, "features": {"x": 1.0}}
        )  # fmt: skip
    return [json.dumps(event).encode() for event in events]


def wide() -> list[bytes]:
    """Two hundred predictions of the minutes before the quiet model goes bad, each of its own segment, with so many features
    that a record is several pieces of work."""
    end = START + STEP * BURST_AT
    return [
        json.dumps(
            {"request_id": f"w{number}", "ts": end - number, "model": "flood0", "model_version": "flood0:1", "prediction": 1,
             "segments": {"region": f"r{number}"}, "features": {f"f{of}": number + of for of in range(WIDE)}}
        ).encode()
        for number in range(MAX_SEGMENT_VALUES)
    ]  # fmt: skip


class Spoken(NamedTuple):
    """``alerts``: after which chunk of the quiet model each of its alerts came, and its status; ``work``: of each checkpoint of
    the monitor, the records by model; ``behind``: the chunks of the quiet model after which the monitor had a backlog."""

    alerts: list[tuple[int, str]]
    work: list[Counter[str]]
    behind: list[int]


class Neighbours:
    """A quiet model beside ``models`` that flood, in one partition and with one monitor task."""

    def __init__(self, models: int) -> None:
        self.pipeline = Pipeline(QUIET)
        for number in range(models):
            spec = replace(FLOOD, model=f"flood{number}")
            self.pipeline.registry.apply(spec.model.encode(), encode(ModelRecord(spec.model, spec)))
        self.spoken = Spoken([], [], [])
        self.beside: dict[int, list[bytes]] = {}
        """By chunk of the quiet model, other events that come with it."""

    def run(self, flood: list[bytes]) -> Spoken:
        """The chunks of the quiet model in turn. One checkpoint of the monitor follows each of the join: a backlog is still
        there when the next one comes."""
        for step in range(STEPS):
            if step == BURST_AT:
                for begin in range(0, len(flood), CHUNK):
                    self.pipeline.send(PREDICTIONS, flood[begin : begin + CHUNK])
                    self._checkpoint(step)
            self.pipeline.send(PREDICTIONS, quiet_events(step) + self.beside.get(step, []))
            self._checkpoint(step)
            if self.pipeline.monitor.unfinished:
                self.spoken.behind.append(step)
        while self.pipeline.monitor.unfinished:
            self._note(STEPS, self.pipeline.monitor.checkpoint(0.0))
        return self.spoken

    def _checkpoint(self, step: int) -> None:
        for output in self.pipeline.joins[0].checkpoint(0.0):
            if output.topic == PROFILES:
                self.pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value)])
        self._note(step, self.pipeline.monitor.checkpoint(0.0))

    def _note(self, step: int, outputs: list[Output]) -> None:
        self.pipeline.outputs.extend(outputs)
        self.spoken.work.append(Counter(json.loads(o.key)[0] for o in outputs if o.topic == METRICS and o.key))
        for output in outputs:
            if output.topic == ALERTS and output.value is not None:
                data = json.loads(output.value)["data"]
                if data["labels"]["model"] == "quiet":
                    self.spoken.alerts.append((step, data["status"]))


@pytest.fixture(scope="module", params=[(200_000, 1, 14), (40_000, 4, 9)], ids=["one", "four"])
def flooded(request: pytest.FixtureRequest) -> Spoken:
    count, models, minutes = request.param
    return Neighbours(models).run(burst(count, models, minutes))


def test_a_flood_delays_no_alert_of_another_model(flooded: Spoken) -> None:
    assert flooded.alerts == Neighbours(0).run([]).alerts
    assert flooded.alerts[0] == (BAD_FROM, "firing")
    assert BAD_FROM in flooded.behind, "the flood was still being worked off when the alert came"


def test_a_checkpoint_holds_a_bounded_part_of_a_flood(flooded: Spoken) -> None:
    said = [Counter({model: count for model, count in work.items() if model != "quiet"}) for work in flooded.work]
    assert max(count for of in said for count in of.values()) < MAX_WORK + CLOSING
    # The first checkpoint after a burst may hold as much of each model, those that follow hold as much of all together.
    models = set().union(*said)
    first = next(place for place, of in enumerate(said) if of)
    assert max(of.total() for of in said[first + 2 :]) < MAX_WORK + CLOSING * len(models)
    assert sum(of.total() for of in said) > 3 * MAX_WORK


def test_windows_that_close_together_are_published_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of one window, too, are computed in parts."""
    flooded, made = Neighbours(1), Counter[int]()
    original = window_records.records.data_side

    def counted(*arguments: Any, **named: Any) -> dict[str, Any]:
        made[len(flooded.spoken.work)] += named.get("drift", True)
        return original(*arguments, **named)

    monkeypatch.setattr(window_records.records, "data_side", counted)
    end = START + STEP * BAD_FROM
    later = {"request_id": "later", "ts": end + 1, "model": "flood0", "model_version": "flood0:1", "prediction": 1}
    flooded.beside[BAD_FROM] = [json.dumps(later).encode()]
    spoken = flooded.run(wide())
    assert BAD_FROM in spoken.behind, "windows were still being published when the alert came"
    assert spoken.alerts == Neighbours(0).run([]).alerts
    closed = [record for record in flooded.pipeline.of(METRICS) if record["window_end"] == iso(end)]
    flood = [record for record in closed if record["model"] == "flood0"]
    assert len(flood) > MAX_SEGMENT_VALUES
    size = min(len(json.dumps(record)) for record in flood)
    # Data sides are five sixths of these records at least.
    assert max(made.values()) <= MAX_WORK * BYTES_A_PIECE // (size * 5 // 6) + 2 < MAX_SEGMENT_VALUES


def test_versions_without_end_leave_room_for_those_of_other_models() -> None:
    pipeline = Pipeline(QUIET)
    pipeline.registry.apply(b"flood", encode(ModelRecord("flood", FLOOD)))
    for model in ("flood", "unknown"):
        invented = [
            {"request_id": f"{model}{n}", "ts": START, "model": model, "model_version": f"{model}:{n}", "prediction": 1}
            for n in range(MAX_VERSIONS + 100)
        ]
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in invented])
    pipeline.checkpoint()
    refused = Counter(json.loads(o.value)["model"] for o in pipeline.outputs if o.topic == DEAD_LETTERS and o.value)
    assert refused == {"flood": 100, "unknown": 100}
    pipeline.outputs.clear()
    for step in range(BAD_FROM, BAD_FROM + 8):
        pipeline.send(PREDICTIONS, quiet_events(step, "quiet:2"))
        pipeline.checkpoint()
    assert not [o for o in pipeline.outputs if o.topic == DEAD_LETTERS]
    alerts = [alert["data"] for alert in pipeline.of(ALERTS)]
    assert [(a["labels"]["model_version"], a["status"]) for a in alerts] == [("quiet:2", "firing")]
