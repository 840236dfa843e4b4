"""The list of alerts leads with incidents and leaves no event out."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.alert import life_cycle
from tidegauge.alert.listing import INDENT, by_incident
from tidegauge.engine.stage import ALERTS, INCIDENTS, PREDICTIONS
from tidegauge.incident import sentences
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

MISSING = MonitorSpec("missing", "data.features.*.missing_ratio", "1m", Condition("above", high=0.3), min_count=20)
SPEC = ModelSpec(
    "churn", task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(first=60), monitors=(MISSING,)
)  # fmt: skip


@pytest.fixture(scope="module")
def said() -> dict[str, list[dict[str, Any]]]:
    """What the stages say of a stream in which a feature is missing in the third minute, and from the ninth on."""
    pipeline = Pipeline(SPEC)
    for second in range(10 * 60):
        ages = {name: None if second // 60 in (2, 8, 9) else float(second % 37) for name in ("age", "tenure")}
        pipeline.send(PREDICTIONS, [json.dumps(prediction(second, START + second, score=0.5, features=ages)).encode()])
        if second % 10 == 0:
            pipeline.checkpoint()
    return {topic: pipeline.of(topic) for topic in (ALERTS, INCIDENTS)}


def test_each_incident_is_followed_by_the_events_of_its_alerts(said: dict[str, list[dict[str, Any]]]) -> None:
    newest = {event["data"]["incident"]: event for event in said[INCIDENTS]}
    assert {event["data"]["status"] for event in newest.values()} == {"open", "resolved"}
    heads = {sentences.line(event): name for name, event in newest.items()}
    listed: dict[str, list[str]] = {}
    for line in by_incident(said[INCIDENTS], said[ALERTS]):
        if line.startswith(INDENT):
            listed[list(listed)[-1]].append(line.removeprefix(INDENT))
        else:
            listed[heads[line]] = []
    assert {name: sorted(lines) for name, lines in listed.items()} == {
        name: sorted(life_cycle.line(event) for event in said[ALERTS] if event["data"]["incident"] == name) for name in newest
    }
    states = [newest[name]["data"]["status"] for name in listed]
    assert states == sorted(states)


def test_the_order_of_partitions_does_not_matter(said: dict[str, list[dict[str, Any]]]) -> None:
    """Events of one alert or incident stay in their order, whatever comes between."""
    expected = list(by_incident(said[INCIDENTS], said[ALERTS]))
    by_key: dict[str, list[dict[str, Any]]] = {}
    for event in said[INCIDENTS]:
        by_key.setdefault(event["data"]["incident"], []).append(event)
    groups = list(by_key.values())
    random.Random(3).shuffle(groups)
    assert list(by_incident([event for group in groups for event in group], said[ALERTS])) == expected


def test_what_belongs_to_no_known_incident_comes_last(said: dict[str, list[dict[str, Any]]]) -> None:
    lines = list(by_incident([], said[ALERTS]))
    assert lines[0] == "in no incident:"
    assert sorted(lines[1:]) == sorted(INDENT + life_cycle.line(event) for event in said[ALERTS])
    assert list(by_incident([], [])) == []
