"""The view's smaller parts: alerts, dead letters, operations, progress; bounded, and unmoved by what cannot be read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tidegauge.alert import operations
from tidegauge.alert.operations import Acknowledgement, Operations, Silence
from tidegauge.console import alert_history, dead_letters
from tidegauge.console.alert_history import AlertHistory
from tidegauge.console.dead_letters import DeadLetters
from tidegauge.console.replay_directory import Line, read
from tidegauge.console.view import View
from tidegauge.engine.delta import Delta, encode
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, METRICS, MODELS, PROFILES
from tidegauge.errors import TidegaugeError
from tidegauge.stream.reading_progress import Progress


def event(mark: str, sequence: int = 1, status: str = "firing") -> bytes:
    data = {"status": status, "fingerprint": mark, "severity": "critical", "labels": {"model": "m", "alertname": "a"}}
    return json.dumps({"id": f"{mark}-{sequence}", "time": "2025-09-27T00:00:00Z", "data": data}).encode()


def test_an_event_that_comes_again_is_one_transition() -> None:
    held = AlertHistory()
    for sequence in (1, 1, 2, 2):
        held.take(event("a", sequence))
    assert [e["id"] for e in held.transitions("a")] == ["a-1", "a-2"]
    assert held.transitions("b") == []


def test_alerts_are_bounded_and_those_that_fire_stay_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_history, "ALERTS_KEPT", 3)
    monkeypatch.setattr(alert_history, "TRANSITIONS_KEPT", 2)
    held = AlertHistory()
    held.take(event("old"))
    held.take(event("over", 1))
    held.take(event("over", 2, "resolved"))
    for mark in ("new", "newer"):
        held.take(event(mark))
    assert {e["data"]["fingerprint"] for e in held.all()} == {"old", "new", "newer"}
    for sequence in range(2, 9):
        held.take(event("old", sequence))
    assert [e["id"] for e in held.transitions("old")] == ["old-7", "old-8"]
    assert held.all()[0]["id"] == "old-8"
    assert held.dropped == 1


@pytest.mark.parametrize(
    "raw", [None, b"", b"[]", b"{}", b'{"data": 1}', b'{"data": {"fingerprint": "a"}}', b"\xff", b"[" * 5000]
)
def test_what_cannot_be_read_changes_nothing(raw: bytes | None) -> None:
    view = View()
    for topic in (ALERTS, METRICS, MODELS, DEAD_LETTERS, PROFILES, operations.OPERATIONS):
        view.take(topic, [Line(b"k", raw), Line(None, raw)])
    assert (view.alerts.all(), view.models(), view.operations.silences) == ([], [], {})
    assert view.alerts.unreadable == 2


def test_dead_letters_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "REASONS_KEPT", 2)
    held = DeadLetters()
    for number in range(100):
        held.take((("reason", b"r%d" % (number % 5)),), b"k" * 1000, b"v" * 10_000, number * 1000)
    assert held.counts == {"r0": 20, "r1": 20, "__other__": 60}
    assert [s.at for s in held.samples("r0")] == [float(n) for n in range(95, -1, -5)]
    assert len(held.samples("r0")[0].value) == dead_letters.SHOWN
    assert held.samples("none") == []


def test_the_newest_operation_of_a_key_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Operations()
    seen = Acknowledgement("a", "2025-09-27T00:00:00Z", "ada", 1.0)
    held.apply(seen.key, operations.encode(seen))
    assert held.acknowledged("a", "2025-09-27T00:00:00Z") == seen
    assert held.acknowledged("a", "2025-09-28T00:00:00Z") is None
    held.apply(seen.key, None)
    assert held.acknowledged("a", "2025-09-27T00:00:00Z") is None
    short, long = (Silence(name, {"model": "m"}, 0.0, end, "ada", 0.0) for name, end in (("s", 10.0), ("l", 20.0)))
    for silence in (long, short):
        held.apply(silence.key, operations.encode(silence))
    assert held.silenced({"model": "m"}, 5.0) == long
    assert held.silenced({"model": "m"}, 20.0) is None
    assert held.silenced({"model": "n"}, 5.0) is None
    monkeypatch.setattr(operations, "MAX_HELD", 2)
    held.apply(b"silence/3", operations.encode(Silence("3", {"model": "m"}, 0.0, 1.0, "ada", 0.0)))
    assert list(held.silences) == ["s", "3"]


def test_how_far_event_time_has_come() -> None:
    progress = Progress()

    def hear(partition: int, watermark: float, idle: bool, model: str = "m") -> None:
        progress.take(encode(Delta(partition, model, 1000.0, idle, watermark, watermark - 50)))

    assert progress.watermark("m") is None
    hear(0, 100.0, False)
    hear(1, 200.0, False)
    assert (progress.watermark("m"), progress.last_event("m")) == (100.0, (200.0, 150.0))
    hear(0, 90.0, False)
    assert progress.watermark("m") == 100.0
    hear(0, 0.0, True, "")
    assert progress.watermark("m") == 200.0
    hear(1, 0.0, True, "")
    assert progress.watermark("m") == 200.0
    (said,) = progress.watermarks()
    assert said == {"model": "m", "watermark": 200.0, "prediction": 200.0, "label": 150.0}


def test_a_replays_directory_is_the_same_view(tmp_path: Any) -> None:
    from support.serving import fed, outputs

    said = outputs()
    topics = {METRICS: "metrics", ALERTS: "alerts", DEAD_LETTERS: "dead-letters"}
    for topic, name in topics.items():
        lines = [o.value for o in said if o.topic == topic and o.value]
        (tmp_path / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    here, there = View(), fed(View(), said)
    read(here, tmp_path)
    assert here.alerts.all() == there.alerts.all()
    series = [(s.name, s.raw, s.earlier) for s in here.windows.series("churn")]
    assert series == [(s.name, s.raw, s.earlier) for s in there.windows.series("churn")]
    assert [s.raw for s in here.windows.comparisons("churn")] == [s.raw for s in there.windows.comparisons("churn")]
    assert here.windows.comparisons("churn")
    with pytest.raises(TidegaugeError, match=r"no metrics\.jsonl"):
        read(View(), tmp_path / "none")
    (tmp_path / "metrics.jsonl").write_bytes(b"{\n")
    with pytest.raises(TidegaugeError, match="not JSON"):
        read(View(), tmp_path)


def test_a_model_that_cannot_be_read_is_a_problem_that_is_shown() -> None:
    view = View()
    view.take(MODELS, [Line(b"m", b'{"model": "other", "spec": {"model": "other"}}')])
    assert "m" in view.problems
    view.take(MODELS, [Line(b"m", msgspec.json.encode({"model": "m", "spec": {"model": "m"}}))])
    assert view.problems == {}
    assert view.models() == ["m"]
