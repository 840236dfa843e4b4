"""The console's memory under floods: letters, alerts, incidents, versions, segments and models without end. What a second flood
of new names adds is nothing that matters, and all that is dropped is counted."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator

import pytest

from support.serving import outputs
from tidegauge.console import alert_history, incident_history
from tidegauge.console.dead_letters import REASONS_KEPT, SAMPLES_KEPT
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.delta import Delta, encode
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, INCIDENTS, METRICS, PROFILES

BUDGET = 1 << 20
SLACK = 1 << 19
"""What dictionaries may grow by when they are resized."""
SAID = outputs()
ALERT, INCIDENT, RECORD = (
    json.loads(next(o.value for o in SAID if o.topic == topic and o.value)) for topic in (ALERTS, INCIDENTS, METRICS)
)
Flood = Callable[[int], Iterator[Line]]


def letters(flood: int) -> Iterator[Line]:
    for number in range(120):
        headers = [(name, f"{flood}-{number}-{'x' * 100_000}".encode()) for name in ("reason", "message", "topic", "offset")]
        yield Line(b"k" * 100_000, b"\xff" * 100_000, tuple(headers), number)


def alerts(flood: int) -> Iterator[Line]:
    for number in range(600):
        data = ALERT["data"] | {"fingerprint": f"{flood}-{number}", "status": "firing" if number % 2 else "resolved"}
        yield Line(None, json.dumps(ALERT | {"id": f"{flood}-{number}-1", "data": data}).encode())


def transitions(flood: int) -> Iterator[Line]:
    for number in range(600):
        yield Line(None, json.dumps(ALERT | {"id": f"{flood}-{number}-1"}).encode())


def incidents(flood: int) -> Iterator[Line]:
    for number in range(600):
        data = INCIDENT["data"] | {"incident": f"{flood}-{number}", "title": "t" * 2000}
        yield Line(None, json.dumps(INCIDENT | {"id": f"{flood}-{number}-1", "data": data}).encode())


def steps(flood: int) -> Iterator[Line]:
    for number in range(600):
        data = INCIDENT["data"] | {"incident": str(number % 10), "title": "t" * 2000}
        yield Line(None, json.dumps(INCIDENT | {"id": f"i-{flood * 600 + number}", "data": data}).encode())


def records(name: str) -> Flood:
    """Closed windows, each with another value of ``name``."""

    def flood(flood: int) -> Iterator[Line]:
        for number in range(500):
            value = {"region": f"r{flood}-{number}"} if name == "segment" else f"{flood}-{number}"
            record = RECORD | {name: value, "closed": True}
            key = [record[member] for member in ("model", "model_version", "segment", "window", "window_start")]
            yield Line(json.dumps(key, separators=(",", ":")).encode(), json.dumps(record).encode())

    return flood


def models(flood: int) -> Iterator[Line]:
    for number in range(11_000):
        yield Line(None, encode(Delta(0, f"m{flood}-{number}", 1.0, False, 1.0)))


FLOODS = {
    "letters": (DEAD_LETTERS, letters),
    "alerts": (ALERTS, alerts),
    "transitions": (ALERTS, transitions),
    "incidents": (INCIDENTS, incidents),
    "steps": (INCIDENTS, steps),
    "versions": (METRICS, records("model_version")),
    "segments": (METRICS, records("segment")),
    "models": (METRICS, records("model")),
    "models-in-deltas": (PROFILES, models),
}


@pytest.mark.parametrize("older", [False, True], ids=["new", "older"])
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_takes_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch, name: str, older: bool) -> None:
    topic, flood = FLOODS[name]
    if older and topic == PROFILES:
        pytest.skip("only the newest records of deltas are read")
    monkeypatch.setattr(alert_history, "BUDGET", BUDGET)
    monkeypatch.setattr(incident_history, "BUDGET", BUDGET)
    view = View(BUDGET)

    def held(number: int) -> int:
        (view.take_older if older else view.take)(topic, flood(number))
        if older:
            view.end_of_block(last=False)
        view.changes()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        sizes = [held(number) for number in range(4)]
    finally:
        tracemalloc.stop()
    # Letters have a bound of their own, and of an alert its newest event is held decoded, too.
    assert max(sizes) < (16 if topic in (DEAD_LETTERS, PROFILES) else 8) * BUDGET, sizes
    assert sizes[-1] < sizes[-2] + SLACK, sizes


def test_all_letters_are_counted_whatever_they_call_their_reasons() -> None:
    view = View()
    for number in range(3):
        view.take(DEAD_LETTERS, letters(number))
    assert view.letters.counts.total() == 360
    assert len(view.letters.counts) == REASONS_KEPT + 1
    assert len(view.letters.samples("__other__")) == SAMPLES_KEPT
