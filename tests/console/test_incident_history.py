"""What the console knows of incidents does not depend on the order in which their records are read."""

from __future__ import annotations

import json
import random

from support.serving import outputs
from tidegauge.console.incident_history import INCIDENTS_KEPT, IncidentHistory
from tidegauge.engine.stage import INCIDENTS

SAID = [output.value or b"" for output in outputs() if output.topic == INCIDENTS]


def known(values: list[bytes]) -> tuple[list[object], list[object]]:
    history = IncidentHistory()
    for value in values:
        assert history.take(value) == "churn"
    told = history.all()
    return list(told), [history.steps(event["data"]["incident"]) for event in told]


def test_any_order_and_repeats_end_in_the_same() -> None:
    assert len(SAID) > 3
    expected = known(SAID)
    newest = {event["data"]["incident"]: event for event in map(json.loads, SAID)}
    assert sorted(map(json.dumps, expected[0])) == sorted(map(json.dumps, newest.values()))
    dice = random.Random(5)
    for _ in range(20):
        shuffled = SAID + dice.choices(SAID, k=3)
        dice.shuffle(shuffled)
        assert known(shuffled) == expected


def test_open_ones_come_first() -> None:
    states = [event["data"]["status"] for event in known(SAID)[0]]
    assert states == sorted(states)


def test_what_is_no_incident_is_counted_and_the_number_is_bounded() -> None:
    history = IncidentHistory()
    for value in (None, b"{", b"[]", b'{"data": 7}', b'{"id": "x", "data": {"incident": "a", "model": "m"}}'):
        assert history.take(value) is None
    assert history.unreadable == 5
    event = json.loads(SAID[0])
    for number in range(INCIDENTS_KEPT + 10):
        history.take(json.dumps(event | {"id": f"{number}-1", "data": event["data"] | {"incident": str(number)}}).encode())
    assert len(history.all()) == INCIDENTS_KEPT
