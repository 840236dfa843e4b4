"""Alerts and dead letters taken in newest block first: in the end as if they had come in their order."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.console import alert_history
from tidegauge.console.alert_history import AlertHistory
from tidegauge.console.dead_letters import DeadLetters
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS


def event(mark: str, sequence: int, status: str) -> bytes:
    data = {"status": status, "fingerprint": mark, "severity": "critical", "labels": {"model": "m"}}
    return json.dumps({"id": f"{mark}-{sequence}", "data": data}).encode()


def history(marks: list[int]) -> list[bytes]:
    """Each mark's alert fires and resolves in turn."""
    said: dict[int, int] = {}
    found = []
    for mark in marks:
        said[mark] = said.get(mark, 0) + 1
        found.append(event(f"a{mark}", said[mark], "firing" if said[mark] % 2 else "resolved"))
    return found


def blocks(count: int, cuts: set[int]) -> list[tuple[int, int]]:
    """From where to where each block reaches, oldest first."""
    edges = sorted({0, count, *(cut for cut in cuts if cut < count)})
    return list(pairwise(edges))


def backwards(view: View, topic: str, records: list[Line], cuts: set[int]) -> None:
    *before, newest = blocks(len(records), cuts)
    view.take(topic, records[slice(*newest)])
    for place, block in enumerate(reversed(before), 1):
        view.take_older(topic, records[slice(*block)])
        view.end_of_block(place == len(before))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80), st.sets(st.integers(1, 79)))
def test_alerts_taken_backwards_end_as_in_order(marks: list[int], cuts: set[int]) -> None:
    records = [Line(None, raw) for raw in history(marks)]
    newest_first, in_order = View(), View()
    in_order.take(ALERTS, records)
    backwards(newest_first, ALERTS, records, cuts)
    assert newest_first.alerts.all() == in_order.alerts.all()
    assert newest_first.alerts.firing() == in_order.alerts.firing()
    for mark in set(marks):
        assert newest_first.alerts.transitions(f"a{mark}") == in_order.alerts.transitions(f"a{mark}")
    assert newest_first.alerts.size == in_order.alerts.size


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=150), st.sets(st.integers(1, 149)))
def test_dead_letters_taken_backwards_end_as_in_order(letters: list[tuple[int, int]], cuts: set[int]) -> None:
    """Some in the same millisecond, and so many that not all are kept."""
    at, records = 0, []
    for number, (reason, later) in enumerate(letters):
        at += later
        records.append(Line(None, b"%d" % number, (("reason", b"r%d" % reason), ("offset", b"%d" % number)), at))
    newest_first, in_order = View(), View()
    in_order.take(DEAD_LETTERS, records)
    backwards(newest_first, DEAD_LETTERS, records, cuts)
    assert newest_first.letters.counts == in_order.letters.counts
    for reason in in_order.letters.counts:
        assert newest_first.letters.samples(reason) == in_order.letters.samples(reason)
    assert in_order.letters.samples("none") == []


def test_a_letter_without_headers_has_no_reason() -> None:
    held = DeadLetters()
    held.take((), None, None, 0, older=True)
    assert held.counts == {"unknown": 1}
    assert held.samples("unknown")[0].value == ""


def test_older_alerts_do_not_push_out_newer_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_history, "ALERTS_KEPT", 3)
    held = AlertHistory()
    for raw in (event("new", 1, "resolved"), event("newer", 1, "resolved")):
        held.take(raw)
    for raw in (event("old", 1, "resolved"), event("older", 1, "firing"), event("last", 1, "resolved")):
        held.take_older(raw)
    assert len(held.all()) == 2
    held.end_of_block()
    # One that fires is worth more than any that does not.
    assert [e["id"] for e in held.all()] == ["newer-1", "new-1", "older-1"]
    assert held.dropped == 2


def test_transitions_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_history, "BUDGET", 10_000)
    held = AlertHistory()
    for number in range(1000):
        held.take(event(f"a{number % 100}", number, "resolved" if number % 3 else "firing"))
        assert held.size <= 10_000
    assert held.all()[0]["id"] == "a99-999"
    assert held.dropped > 0
