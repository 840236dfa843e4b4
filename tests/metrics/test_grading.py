"""Estimates graded once labels are in: each window's error, the running mean, restatements, restarts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.driver import Pipeline
from support.nannyml import METRICS, NANNYML, SPEC, baseline_of, event, pipeline_with, rows
from support.schemas import mistakes
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.engine.stage import METRICS as METRICS_TOPIC
from tidegauge.metrics.grading import UNITS, Grades
from tidegauge.monitor.stage import MonitorStage
from tidegauge.prometheus.window_samples import window_samples
from tidegauge.spec import Condition, MonitorSpec
from tidegauge.stream.telemetry import estimate_errors

TOLD = NANNYML["data_sets"]["synthetic_sample"]


def send(pipeline: Pipeline, place: int, *, labels: bool, wrong: bool = False, later: float = 0.0) -> None:
    """One chunk of the data set as the minute ``place``, or its labels half a minute after (or ``later``)."""
    values = []
    for i, (score, predicted, actual) in enumerate(rows(TOLD["chunks"][place]["rows"])):
        number, ts = 5000 * place + i, 60.0 * (place + 1)
        if labels:
            told = 1 - actual if wrong else actual
            values.append({"request_id": f"r{number}", "ts": ts + 30 + later, "label": told})
        else:
            values.append(event(number, ts, score, predicted))
    pipeline.send(LABELS if labels else PREDICTIONS, [json.dumps(value).encode() for value in values])


@pytest.fixture(scope="module")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Minutes 1 to 5 with labels, minutes 6 and 7 without; the labels of minute 2 are wrong at first."""
    pipeline = pipeline_with(baseline_of(tmp_path_factory.mktemp("reference"), rows(TOLD["reference"])))
    for place in range(5):
        send(pipeline, place, labels=False)
        send(pipeline, place, labels=True, wrong=place == 1)
        pipeline.checkpoint()
    send(pipeline, 1, labels=True, later=1.0)
    for place in (5, 6):
        send(pipeline, place, labels=False)
        pipeline.checkpoint()
    return pipeline


def newest(pipeline: Pipeline) -> list[dict[str, Any]]:
    return sorted(pipeline.records().values(), key=lambda record: str(record["window_start"]))


def errors() -> list[dict[str, float]]:
    """Estimated minus realised of each chunk, as NannyML has them."""
    return [{m: chunk["estimated"][m] - chunk["realized"][m] for m in METRICS} for chunk in TOLD["chunks"]]


def test_a_settled_window_says_how_far_its_estimate_was_off(graded: Pipeline) -> None:
    found = newest(graded)
    for record, error in zip(found[:5], errors(), strict=False):
        assert record["settled"]
        # Realised AUC is exact to 1e-3 by contract, the other numbers are exact.
        assert record["estimate_error"] == pytest.approx(error, abs=1e-3)
        assert "estimate_mean_absolute_error" not in record


def test_an_unlabelled_window_says_how_far_such_estimates_have_been_off(graded: Pipeline) -> None:
    record = newest(graded)[5]
    assert record["labels"] == 0
    assert "estimate_error" not in record
    said = dict(record["estimate_mean_absolute_error"])
    assert said.pop("windows") == 5
    assert said == pytest.approx({m: sum(abs(e[m]) for e in errors()[:5]) / 5 for m in METRICS}, abs=1e-3)


def test_wrong_labels_leave_no_trace_in_the_grades(graded: Pipeline) -> None:
    restated = [r for r in graded.of(METRICS_TOPIC) if r["window_start"] == newest(graded)[1]["window_start"]]
    assert any(abs(r.get("estimate_error", {}).get("accuracy", 0.0)) > 0.5 for r in restated), "the wrong ones were seen"
    (version,) = graded.monitor.versions.values()
    units = {m: sum(round(abs(r["estimate_error"][m]) * UNITS) for r in newest(graded)[:5]) for m in METRICS}
    assert version.grades.totals == {"1m": {m: (5, units[m]) for m in METRICS}}


def test_prometheus_shows_estimates_and_how_far_they_were_off(graded: Pipeline) -> None:
    families = {family.name: family.samples for family in estimate_errors(graded.monitor.versions.values())}
    assert families.keys() == {f"tidegauge_estimate_error_{m}" for m in METRICS} | {"tidegauge_estimate_graded_windows"}
    ((sample,), record) = families["tidegauge_estimate_error_roc_auc"], newest(graded)[5]
    assert sample.labels == {"model": "wfh", "model_version": "wfh:1", "window": "1m"}
    assert sample.value == record["estimate_mean_absolute_error"]["roc_auc"]
    shown = {of.name: of.value for of in window_samples(record)}
    assert {m: shown[f"tidegauge_estimated_{m}"] for m in METRICS} == {m: record["estimated"][m] for m in METRICS}


def test_the_schema_knows_what_is_written(graded: Pipeline) -> None:
    for record in graded.of(METRICS_TOPIC):
        assert mistakes("metrics-record", record) == []


def test_a_restart_keeps_the_grades(graded: Pipeline) -> None:
    (before,) = graded.monitor.versions.values()
    again = MonitorStage(graded.monitor._store, graded.registry, 1, graded.counters)
    (after,) = again.versions.values()
    assert after.grades.totals == before.grades.totals
    (kept,) = again.newest
    assert kept["estimate_mean_absolute_error"]["windows"] == 5


def test_monitors_watch_estimates_and_their_errors(tmp_path: Path) -> None:
    monitors = (
        MonitorSpec("estimate", "estimated.roc_auc", "1m", Condition("below", low=0.968)),
        MonitorSpec("trust", "estimate_error.accuracy", "1m", Condition("outside", low=-0.02, high=0.02)),
        MonitorSpec("drop", "estimated.f1", "1m", Condition("below", low=0.02, relative_to_baseline=True, percent=True)),
    )
    spec = msgspec.structs.replace(SPEC, monitors=monitors)
    pipeline = pipeline_with(baseline_of(tmp_path, rows(TOLD["reference"]), spec), spec)
    for place in range(3, 8):
        send(pipeline, place, labels=False)
        if place == 4:
            send(pipeline, place, labels=True, wrong=True)
        pipeline.checkpoint()
    pipeline.finish()
    (drop,) = (a["data"] for a in pipeline.of(ALERTS) if a["data"]["labels"]["alertname"] == "drop")
    # Nearly all of the labels of the fifth chunk contradict the estimate.
    assert drop["annotations"]["description"].endswith("; such estimates were off by 0.89 on average over 1 window")
    first = {a["data"]["labels"]["alertname"]: a["data"]["window"]["start"] for a in reversed(pipeline.of(ALERTS))}
    # The data set changes from its sixth chunk on; the labels of the fifth are all wrong.
    assert first == {"estimate": "1970-01-01T00:06:00Z", "drop": "1970-01-01T00:06:00Z", "trust": "1970-01-01T00:05:00Z"}


@given(st.lists(st.tuples(st.integers(0, 4), st.dictionaries(st.sampled_from(METRICS), st.floats(-1, 1))), max_size=30))
def test_grades_are_those_of_the_last_word_on_each_window(words: list[tuple[int, dict[str, float]]]) -> None:
    grades, held = Grades(), dict[int, dict[str, float]]()
    for window, new in words:
        grades.replace("1d", held.get(window, {}), new)
        held[window] = new
    straight = Grades()
    for new in held.values():
        straight.replace("1d", {}, new)
    assert grades.mean_absolute_error("1d") == straight.mean_absolute_error("1d")
