"""Faults of a model with few requests: told by exact tests of a window and those before it, if they are beyond doubt."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, PREDICTIONS
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

LIMIT, LEVEL = 0.05, 0.001
Counts = list[tuple[int, int]]
"""Errors and requests, minute by minute."""


def spec(few_values: float | None = LEVEL, **members: Any) -> ModelSpec:
    monitor = MonitorSpec(
        "errors", "system.error_ratio", "1m", Condition("above", high=LIMIT), few_values=few_values, **members
    )
    return ModelSpec("churn", task="binary", windows=("1m",), grace=0.0, monitors=(monitor,))


def requests(minute: int, errors: int, count: int, first: int = 0) -> list[bytes]:
    """The requests of a minute, of which so many fail, spread evenly over it."""
    found = []
    for number in range(count):
        fails = number * errors // count < (number + 1) * errors // count
        answer: dict[str, Any] = {"error": "timeout"} if fails else {"prediction": 1, "score": 0.7}
        at = START + 60 * minute + (number + 0.5) * 60 / count
        found.append(json.dumps(prediction(10_000 * minute + first + number, at, **answer)).encode())
    return found


def play(driven: Pipeline, minutes: Counts, restarts: frozenset[int] = frozenset()) -> None:
    for minute, (errors, count) in enumerate(minutes):
        driven.send(PREDICTIONS, requests(minute, errors, count))
        driven.checkpoint()
        if minute in restarts:
            driven.restart_monitor()
    driven.finish()


def said(driven: Pipeline) -> list[tuple[str, int]]:
    """The status of each event of an alert, and the minute of its window, in order."""
    minutes = {f"2025-09-27T00:{minute:02}:00Z": minute for minute in range(60)}
    return [(of["status"], minutes[of["window"]["start"]]) for of in (alert["data"] for alert in driven.of(ALERTS))]


def newest(sums: Counts) -> tuple[int, int]:
    return next((of for of in sums if of[1] >= 5), sums[-1])


def expected(minutes: Counts) -> list[tuple[str, int]]:
    """The same, computed from the counts alone by SciPy's exact test."""
    events: list[tuple[str, int]] = []
    firing = False
    for minute, (errors, count) in enumerate(minutes):
        if not count:
            continue
        past = minutes[max(minute - 11, 0) : minute + 1]
        sums = [(sum(k for k, _ in past[-n:]), sum(n for _, n in past[-n:])) for n in (1, 3, 12)]
        p_value = min(binomtest(k, n, LIMIT, "greater").pvalue for k, n in sums)
        few, of = newest(sums)
        leans = errors > LIMIT * count and binomtest(few, of, LIMIT, "greater").pvalue <= 0.05
        if 3 * p_value <= LEVEL and leans:
            if not firing:
                events.append(("firing", minute))
            firing = True
        elif firing and of >= 5 and few <= LIMIT * of:
            events.append(("resolved", minute))
            firing = False
    return events


minutes_of_few = st.lists(
    st.integers(0, 25).flatmap(lambda count: st.tuples(st.sampled_from((0, 0, 1, count // 2, count)), st.just(count))),
    min_size=1, max_size=20,
).map(lambda of: [(min(errors, count), count) for errors, count in of])  # fmt: skip


@given(minutes_of_few, st.frozensets(st.integers(0, 20)), st.integers(1, 3))
@settings(max_examples=30)
def test_what_is_told_follows_from_the_counts_whatever_is_restarted(
    minutes: Counts, restarts: frozenset[int], partitions: int
) -> None:
    driven = Pipeline(spec(), partitions)
    play(driven, minutes, restarts)
    assert said(driven) == expected(minutes)


def test_a_written_monitor_is_silent_below_its_min_count() -> None:
    driven = Pipeline(spec(few_values=None))
    play(driven, [(0, 15)] * 3 + [(15, 15)] * 12)
    assert said(driven) == []


def test_windows_of_min_count_and_more_are_judged_by_the_limit_alone() -> None:
    """So 11 of 200 are a breach, although 10 or more would be no surprise at the limit."""
    driven = Pipeline(spec())
    play(driven, [(0, 200), (11, 200), (11, 199), (0, 200)])
    assert said(driven) == [("firing", 1), ("resolved", 3)]


def test_late_requests_undo_what_few_of_them_said() -> None:
    driven = Pipeline(spec())
    play_on = [(0, 8), (8, 8), (8, 8)]
    for minute, (errors, count) in enumerate(play_on):
        driven.send(PREDICTIONS, requests(minute, errors, count))
        driven.checkpoint()
    assert said(driven) == [("firing", 1)]
    driven.send(PREDICTIONS, requests(2, 0, 400, first=5000))
    driven.send(PREDICTIONS, requests(1, 0, 400, first=5000))
    driven.finish()
    (_, over) = driven.of(ALERTS)
    assert over["data"]["status"] == "resolved"


@pytest.mark.parametrize(
    ("gone", "name", "feature"),
    [
        ({}, "missing-feature", None),
        ({"age": "40"}, "type-mismatch", "age"),
        ({"age": None}, "missing-values", "age"),
    ],
)
def test_the_default_monitors_tell_a_fault_in_every_one_of_few_requests(
    gone: dict[str, Any], name: str, feature: str | None
) -> None:
    """Fifteen requests in five minutes, and a baseline learned from the first three hundred."""
    driven = Pipeline(ModelSpec("churn", task="binary", windows=("5m", "1d"), baseline=BaselineSpec(first=300)))

    def five_minutes(number: int, faulty: bool) -> None:
        events = []
        for request in range(15):
            features = {"age": float(20 + (7 * number + request) % 50), "plan": "abc"[(number + request) % 3]}
            if faulty:
                features = {"plan": "a"} | gone
            at = START + 300 * number + 20 * request
            events.append(prediction(15 * number + request, at, prediction=1, score=0.7, features=features))
        driven.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
        driven.checkpoint()

    for number in range(60):
        five_minutes(number, faulty=False)
    assert driven.of(ALERTS) == []
    for number in range(60, 63):
        five_minutes(number, faulty=True)
    told = [of["data"] for of in driven.of(ALERTS) if of["data"]["labels"]["alertname"] == name]
    assert [(of["status"], of["starts_at"]) for of in told] == [("firing", "2025-09-27T05:00:00Z")]
    assert told[0]["labels"].get("feature") == feature
    assert told[0]["sample_size"] == 15
    for number in range(63, 67):
        five_minutes(number, faulty=False)
    driven.finish()
    told = [of["data"]["status"] for of in driven.of(ALERTS) if of["data"]["labels"]["alertname"] == name]
    assert told == ["firing", "resolved"]


NEAR, WITHIN, BACK = 24, 18, 4
"""Errors of 400: 6, 4.5 and 1 %, by a limit of 5 %."""


@pytest.mark.parametrize(
    ("errors", "events"),
    [
        ([0, NEAR, WITHIN, NEAR, WITHIN, WITHIN, NEAR, BACK], [("firing", 1), ("resolved", 7)]),
        ([0, NEAR, BACK, BACK], [("firing", 1), ("resolved", 2)]),
        ([0, NEAR, WITHIN, WITHIN, WITHIN, WITHIN], [("firing", 1), ("resolved", 4)]),
    ],
)
def test_an_alert_near_its_limit_goes_on_until_the_number_is_back(errors: list[int], events: list[tuple[str, int]]) -> None:
    minutes = [(of, 400) for of in errors]
    driven = Pipeline(spec(keep_firing_for=3, recovery_margin=0.5))
    play(driven, minutes)
    assert said(driven) == events
    window_by_window = Pipeline(spec())
    play(window_by_window, minutes)
    assert len(said(window_by_window)) >= len(events)
