"""Requests that are forgotten are shown nowhere, whether the console hears of that before or after what names them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.serving import outputs
from tidegauge.alert.operations import OPERATIONS, Forgotten, encode
from tidegauge.console.replay_directory import Line
from tidegauge.console.view import View
from tidegauge.engine.forgotten import digest_of
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS

EVENTS = [
    of.value for of in outputs() if of.topic == ALERTS and of.value and json.loads(of.value)["data"]["evidence"]["request_ids"]
]
NAMED = json.loads(EVENTS[0])["data"]["evidence"]["request_ids"]
REASON = (("reason", b"missing_member"),)


def told(view: View, name: str) -> None:
    held = Forgotten(digest_of(name).hex(), "ada", 0.0)
    view.take(OPERATIONS, [Line(held.key, encode(held), (), 0)])


def shown(view: View) -> set[str]:
    """The requests that any answer about alerts is made of."""
    firing = [event for events in view.alerts.firing().values() for event in events]
    events: list[dict[str, Any]] = [*view.alerts.all(), *firing]
    for event in view.alerts.all():
        events += view.alerts.transitions(event["data"]["fingerprint"])
    return {name for event in events for name in event["data"]["evidence"]["request_ids"]}


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("older", [True, False])
def test_examples_of_alerts_do_not_name_a_forgotten_request(first: bool, older: bool) -> None:
    view = View()
    if first:
        told(view, NAMED[0])
    lines = [Line(None, value, (), 0) for value in EVENTS]
    (view.take_older if older else view.take)(ALERTS, lines)
    view.end_of_block(True)
    if not first:
        assert NAMED[0] in shown(view)
        told(view, NAMED[0])
    assert NAMED[0] not in shown(view)
    assert set(NAMED[1:]) <= shown(view)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"6f1c", b"{"),
        (None, b'{"request_id": "6f1c", "ts": 5}'),
        (b"other", b'{"ts": NaN, "request_id" : "6f\\u0031c", "features'),
        (None, b'{"request_id": "6f1c", "' + b"x" * 5000),
    ],
)
def test_dead_letters_of_a_forgotten_request_are_not_shown(key: bytes | None, value: bytes) -> None:
    view = View()
    view.take(DEAD_LETTERS, [Line(key, value, REASON, 1), Line(b"k", b'{"request_id": "6f1cc"}', REASON, 2)])
    assert len(view.letters.samples("missing_member")) == 2
    told(view, "6f1c")
    assert [letter.key for letter in view.letters.samples("missing_member")] == ["k"]
    assert view.letters.counts["missing_member"] == 2


def test_a_deleted_record_ends_the_forgetting() -> None:
    view = View()
    told(view, "6f1c")
    view.take(OPERATIONS, [Line(Forgotten(digest_of("6f1c").hex(), "", 0.0).key, None, (), 0)])
    assert not view.operations.forgotten
