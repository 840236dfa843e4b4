"""Values that go missing are one alert: what the monitor on their share fires for, the one on its rise leaves out."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, prediction
from tidegauge.engine.stage import ALERTS, PREDICTIONS
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

LEARNED = 3000
"""Predictions of the baseline: the first five minutes."""


def pipeline(share_window: str = "5m", partitions: int = 1) -> Pipeline:
    share = MonitorSpec("missing", "data.features.*.missing_ratio", share_window, Condition("above", high=0.3), "critical",
                        min_count=50)  # fmt: skip
    rise = MonitorSpec("rise", "data.features.*.missing_shift", "5m", Condition("above", high=0.1))
    spec = ModelSpec(
        "churn", task="binary", windows=("1m", "5m"), grace=0.0, baseline=BaselineSpec(first=LEARNED), monitors=(rise, share)
    )
    return Pipeline(spec, partitions)


def minute(number: int, age: float, income: float, rows: int = 600) -> list[bytes]:
    """A minute of predictions, of which those shares lack the feature, one in so many rows."""
    found = []
    for row in range(rows):
        features = {
            "age": None if row % 20 < 20 * age else float(row % 97),
            "income": None if row % 20 < 20 * income else float(row % 89),
        }
        at = START + 60 * number + row * 60 / rows
        found.append(json.dumps(prediction(number * 10_000 + row, at, score=0.5, features=features)).encode())
    return found


def steady(driven: Pipeline, minutes: range) -> None:
    for number in minutes:
        driven.send(PREDICTIONS, minute(number, 0.05, 0.0))
        driven.checkpoint()


def said(driven: Pipeline, name: str) -> list[tuple[str, str, str | None]]:
    """Feature, status and resolution of the alerts of this name, in order."""
    return [
        (of["labels"]["feature"], of["status"], of["annotations"].get("resolution"))
        for of in (alert["data"] for alert in driven.of(ALERTS))
        if of["labels"]["alertname"] == name
    ]


def test_a_gap_is_told_by_the_share_and_a_small_rise_by_the_rise() -> None:
    """And both are over once nothing is missing where nothing ever was."""
    driven = pipeline()
    steady(driven, range(5))
    for number in range(5, 10):
        driven.send(PREDICTIONS, minute(number, 0.5, 0.1))
        driven.checkpoint()
    steady(driven, range(10, 16))
    assert said(driven, "missing") == [("age", "firing", None), ("age", "resolved", None)]
    assert said(driven, "rise") == [("income", "firing", None), ("income", "resolved", None)]


def test_a_gap_of_a_minute_is_told_by_the_minute() -> None:
    """The five minutes hold 14 % missing: below the share's limit, and well above the rise's."""
    driven = pipeline("1m")
    steady(driven, range(9))
    driven.send(PREDICTIONS, minute(9, 0.5, 0.0))
    steady(driven, range(10, 16))
    assert said(driven, "missing") == [("age", "firing", None), ("age", "resolved", None)]
    assert said(driven, "rise") == []
    (record,) = [of for of in driven.records().values() if of["window"] == "5m" and of["window_start"].endswith("00:05:00Z")]
    assert record["data"]["features"]["age"]["missing_shift"] > 0.3


def test_restated_windows_hand_the_fault_from_one_alert_to_the_other() -> None:
    driven = pipeline()
    steady(driven, range(5))
    for number in range(5, 10):
        driven.send(PREDICTIONS, minute(number, 0.2, 0.0))
    steady(driven, range(10, 12))
    assert said(driven, "rise") == [("age", "firing", None)]
    # Late events: now more than the limit of the share is missing, and then less again.
    driven.send(PREDICTIONS, [of.replace(b': "r', b': "late-') for of in minute(9, 1.0, 0.0)])
    steady(driven, range(12, 14))
    assert said(driven, "rise") == [("age", "firing", None), ("age", "resolved", "restated")]
    assert said(driven, "missing") == [("age", "firing", None)]
    for name in (b': "later-', b': "latest-', b': "last-'):
        driven.send(PREDICTIONS, [of.replace(b': "r', name) for of in minute(8, 0.0, 0.0)])
    steady(driven, range(14, 15))
    assert said(driven, "missing")[-1] == ("age", "resolved", "restated")
    assert said(driven, "rise")[-1] == ("age", "firing", None)


@settings(max_examples=25)
@given(st.data())
def test_what_fires_in_the_end_does_not_depend_on_the_order(data: st.DataObject) -> None:
    """The last five minutes come in any order, over two partitions."""
    events = [
        of for number in range(10, 15) for of in minute(number, *((0.9, 0.0) if number == 12 else (0.05, 0.15)), rows=120)
    ]
    parts = data.draw(st.permutations([events[first : first + 60] for first in range(0, len(events), 60)]))
    driven = pipeline("1m", partitions=2)
    steady(driven, range(10))
    for part in parts:
        driven.send(PREDICTIONS, part)
        if data.draw(st.booleans()):
            driven.checkpoint()
    driven.finish()
    state = {
        (of["labels"]["alertname"], of["labels"]["feature"]): of["status"] for of in (a["data"] for a in driven.of(ALERTS))
    }
    assert {of for of, status in state.items() if status == "firing"} == {("rise", "income")}
    assert [of for of in said(driven, "rise") if of[0] == "age" and of[1] == "firing"] == []
