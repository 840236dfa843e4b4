"""The plots of reports show the numbers of the records, whatever these are called."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import Pipeline
from support.events import START, stream
from support.serving import WATCHED
from tidegauge.engine.stage import ALERTS, INCIDENTS, METRICS
from tidegauge.metrics.record import iso
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.report import plots
from tidegauge.report.archive import Archive
from tidegauge.report.build import build
from tidegauge.report.concerns import CONCERNS
from tidegauge.report.page import render
from tidegauge.report.period import Period

LENGTH = 3600.0
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
SEVERITIES = st.sampled_from([None, "warning", "critical"])


def starts(count: int) -> list[str]:
    return [iso(START + LENGTH * place) for place in range(count)]


def ends(count: int) -> dict[str, str]:
    return dict(zip(starts(count), starts(count + 1)[1:], strict=True))


def axis(count: int) -> plots.Axis:
    return plots.Axis(iso(START), iso(START + LENGTH * count))


def shapes(svg: str, kind: str) -> list[ElementTree.Element]:
    return [of for of in ElementTree.fromstring(svg).iter() if of.tag == kind]


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=30, unique=True))
def test_points_lie_where_their_values_and_windows_are(values: list[float]) -> None:
    windows = [
        {"window_start": start, "window_end": end, "performance": {"accuracy": value}, "performance_interval": {}}
        for (start, end), value in zip(ends(len(values)).items(), values, strict=True)
    ]
    svg = plots.performance(windows, "accuracy", axis(len(values)))
    points = [(float(of.attrib["cx"]), float(of.attrib["cy"])) for of in shapes(svg, "circle")]
    xs, ys = np.transpose(points)
    for place, expected in ((xs, np.arange(len(values))), (-ys, np.array(values))):
        reach = expected.max() - expected.min()
        shown = (place - place.min()) / (place.max() - place.min())
        # Places are written with a tenth of a pixel.
        assert shown == pytest.approx((expected - expected.min()) / reach, abs=2e-3)


@settings(max_examples=50)
@given(st.dictionaries(NAMES, st.lists(st.none() | st.floats(0, 10), min_size=4, max_size=4), min_size=1, max_size=8))
def test_the_heatmap_has_a_row_a_feature_and_a_cell_a_value(values: dict[str, list[float | None]]) -> None:
    history = {
        "measure": "limits", "windows": starts(4), "features": [{"feature": of, "values": row} for of, row in values.items()],
    }  # fmt: skip
    svg = plots.heatmap(history, axis(4), ends(4))
    names = [of.text for of in shapes(svg, "text") if of.attrib.get("class") == "name"]
    order = sorted(values, key=lambda of: (-max((one for one in values[of] if one is not None), default=-1.0), of))
    assert names == order
    cells = [of.attrib["class"] for of in shapes(svg, "rect")]
    found = [value for name in order for value in values[name] if value is not None]
    assert cells == [f"heat-{sum(value > edge for edge in (0.25, 0.6, 1.0, 2.0))}" for value in found]


@settings(max_examples=50)
@given(st.lists(st.tuples(*[SEVERITIES] * len(CONCERNS)), min_size=1, max_size=20))
def test_concerns_are_coloured_as_long_as_they_were_wrong(rows: list[tuple[str | None, ...]]) -> None:
    health = {concern: [row[place] for row in rows] for place, concern in enumerate(CONCERNS)}
    svg = plots.concerns(health, starts(len(rows)), iso(START + LENGTH * len(rows)), axis(len(rows)))
    width = (plots.WIDTH - plots.LEFT - plots.RIGHT) / len(rows)
    for severity in ("fine", "warning", "critical"):
        own = [of for of in shapes(svg, "rect") if of.attrib["class"] == severity]
        shown = sum(float(of.attrib["width"]) + 0.5 for of in own) / width
        wrong = sum((of or "fine") == severity for row in rows for of in row)
        assert shown == pytest.approx(wrong, abs=0.05 * max(len(own), 1))


def archive(*, specs: bool) -> tuple[Archive, list[dict[str, Any]]]:
    """The archive of a small stream of which half the ages are missing; and its records."""
    pipeline = Pipeline(WATCHED)
    for topic, value in stream(4, count=600, minutes=30.0):
        pipeline.send(topic, [value])
        pipeline.checkpoint()
    pipeline.finish()
    held = Archive("churn", START - 86400.0, START + 86400.0)
    held.incidents = {}
    for topic, add in ((METRICS, held.add_metric), (ALERTS, held.add_alert), (INCIDENTS, held.add_incident)):
        for output in pipeline.outputs:
            if output.topic == topic and output.value:
                add(output.value)
    if specs:
        held.specs.apply(b"churn", encode(ModelRecord("churn", WATCHED)))
    return held, pipeline.of(METRICS)


def test_a_report_holds_features_to_their_limits_and_names_the_first_beyond() -> None:
    held, records = archive(specs=True)
    report = build(held, "churn", Period(START, START + 1800.0), None)
    version = next(of for of in report["versions"] if of["model_version"] == "churn_xgb:3")
    newest = {
        record["window_start"]: record["data"]["features"]["age"]["missing_ratio"] for record in records
        if (record["model_version"], record["window"], record["segment"]) == ("churn_xgb:3", "5m", {})
    }  # fmt: skip
    drift = version["drift"]
    assert drift["measure"] == "limits"
    age = next(of for of in drift["features"] if of["feature"] == "age")
    assert age["values"] == pytest.approx([newest[start] / 0.2 for start in drift["windows"]], abs=1e-3)
    assert age["since"] == min(start for start, ratio in newest.items() if ratio > 0.2)
    page = render(report)
    assert "age went beyond its limit first" in page
    assert page.index("<h2>Incidents") < page.index("<h2>What was wrong") < page.index("<h2>churn_xgb:3")
    wrong = report["health"]["concerns"]
    assert set(wrong["data"]) != {None}
    assert set(wrong["system"]) == {None}


def test_without_specs_a_report_shows_shifts_and_says_so() -> None:
    held, _ = archive(specs=False)
    report = build(held, "churn", Period(START, START + 1800.0), None)
    assert {of["drift"]["measure"] for of in report["versions"]} == {"shift"}
    assert "No limits are known: shown is each feature's shift." in render(json.loads(json.dumps(report)))
