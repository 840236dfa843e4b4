"""Frames in, frames out: the same numbers as the commands write, whatever library the frames are of, and as scikit-learn's."""

from __future__ import annotations

import enum
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss

import tidegauge as tg
from tidegauge.cli.main import main
from tidegauge.errors import BaselineError, ReportError, SourceError, SpecError

# Few enough that sketches hold every value, which makes all numbers exact.
START, DAY, ROWS = 1_758_931_200.0, 86400.0, 190
SPEC = """
model: churn
task: binary
segments: [region]
windows: [1d]
grace: 0s
label_horizon: 1d
monitors:
  - {name: accuracy, metric: performance.accuracy, window: 1d, below: 0.6, min_count: 50, severity: critical}
  - {name: missing, metric: data.features.*.missing_ratio, window: 1d, above: 0.3, min_count: 50}
"""


def drawn(seed: int, days: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Predictions and labels of ``days`` days; on the last the labels are swapped and a feature is missing."""
    rng = np.random.default_rng(seed)
    n = ROWS * days
    score = rng.random(n)
    day = np.arange(n) // ROWS
    late = day == days - 1
    label = (rng.random(n) < score).astype(int)
    predictions = pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)], "ts": START + day * DAY + (np.arange(n) % ROWS) * 400.0,
            "model_version": "churn:1", "prediction": (score > 0.5).astype(int), "score": score,
            "age": np.where(late & (rng.random(n) < 0.5), np.nan, rng.normal(40, 10, n)), "plan": rng.choice(list("abc"), n),
            "segments.region": rng.choice(["eu", "us"], n),
        }
    )  # fmt: skip
    known = pd.DataFrame(
        {"request_id": predictions["request_id"], "ts": predictions["ts"] + 600.0, "label": np.where(late, 1 - label, label)}
    )
    return predictions, known


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, pd.DataFrame]:
    return drawn(1, 3)


@pytest.fixture(scope="module")
def baseline() -> Any:
    predictions, labels = drawn(2, 2)
    return tg.build_baseline(predictions.iloc[:ROWS].assign(label=labels["label"][:ROWS]), SPEC)


@pytest.fixture(scope="module")
def run(data: tuple[pd.DataFrame, pd.DataFrame], baseline: Any) -> Any:
    return tg.replay(*data, spec=SPEC, baseline=baseline)


def test_numbers_are_those_of_the_rows(run: Any, data: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    predictions, labels = data
    metrics = run.metrics
    for day in range(3):
        rows = slice(day * ROWS, (day + 1) * ROWS)
        start = pd.Timestamp(START + day * DAY, unit="s", tz="UTC")
        window = metrics[(metrics.segment == "") & (metrics.start == start)].set_index("metric")
        predicted, score, actual = predictions.prediction[rows], predictions.score[rows], labels.label[rows]
        accuracy = window.loc["performance.accuracy"]
        assert accuracy.value == pytest.approx(accuracy_score(actual, predicted), abs=1e-9)
        assert accuracy.low < accuracy.value < accuracy.high
        assert window.loc["performance.brier"].value == pytest.approx(brier_score_loss(actual, score), abs=1e-9)
        missing = window.loc["data.features.*.missing_ratio"].set_index("feature")
        assert missing.value["age"] == pytest.approx(predictions.age[rows].isna().mean())
        psi = window.loc["data.features.*.psi"].set_index("feature")
        assert psi.p_value["plan"] > 1e-4
    assert set(metrics.segment) == {"", "region=eu", "region=us"}
    assert not metrics.duplicated(["segment", "start", "metric", "feature"]).any()


def test_what_goes_wrong_is_an_alert_and_an_incident_named_by_its_cause(run: Any) -> None:
    fired = run.alerts[run.alerts.status == "firing"]
    assert {("accuracy", ""), ("missing", "age")} <= set(zip(fired.alertname, fired.feature, strict=True))
    (incident,) = run.incidents.itertuples()
    assert (incident.cause, incident.feature, incident.alerts) == ("missing", "age", len(fired))
    assert set(run.alerts.incident) == {incident.incident}
    assert len(run.dead_letters) == 0


def test_a_run_says_what_it_is(run: Any) -> None:
    assert repr(run) == f"<Run of churn: windows 9, changes of alerts {len(run.alerts)}, incidents 1>"


def test_rows_that_are_no_events_are_refused_and_some_of_them_told(data: Any, caplog: pytest.LogCaptureFixture) -> None:
    predictions, labels = data
    with pytest.raises(SourceError, match=r"data frame: no event of the topic predictions .* the first: .*model_version"):
        tg.replay(predictions.drop(columns="model_version"), labels, spec=SPEC)
    some = predictions.assign(model_version=predictions["model_version"].where(predictions.index % 2 == 0))
    with caplog.at_level("WARNING", logger="tidegauge.notebook"):
        tg.replay(some, labels, spec=SPEC)
    assert "1140 events read; not counted: 285 dead letters (missing_member), 285 labels without a prediction" in caplog.text


@pytest.mark.parametrize("convert", [pl.from_pandas, lambda frame: pl.from_pandas(frame).lazy(), pa.Table.from_pandas])
def test_frames_of_any_library_give_the_same(run: Any, data: Any, baseline: Any, convert: Any) -> None:
    other = tg.replay(*map(convert, data), spec=SPEC, baseline=baseline)
    assert other.records == run.records
    assert type(other.metrics).__module__.partition(".")[0] == type(convert(data[0])).__module__.partition(".")[0]
    assert len(other.metrics) == len(run.metrics)


def test_the_commands_say_the_same(run: Any, data: Any, baseline: Any, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "churn.yaml").write_text(SPEC + "baseline: churn.baseline.json\n")
    reference, labels = drawn(2, 2)
    reference.iloc[:ROWS].assign(label=labels["label"][:ROWS]).to_parquet(tmp_path / "reference.parquet")
    built = ["baseline", "build", "--spec", str(models / "churn.yaml"), "--version", "churn:1"]
    assert main([*built, "--input", str(tmp_path / "reference.parquet"), "--output", str(models / "churn.baseline.json")]) == 0
    assert (models / "churn.baseline.json").read_bytes() == baseline.to_json()
    for name, frame in zip(("p", "l"), data, strict=True):
        frame.to_parquet(tmp_path / f"{name}.parquet")
    given = ["--predictions", str(tmp_path / "p.parquet"), "--labels", str(tmp_path / "l.parquet")]
    assert main(["replay", "--models", str(models), *given, "--output", str(tmp_path / "out")]) == 0
    newest = {}
    for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        newest[str(record["segment"]), record["window_start"]] = record
    told = {(str(record["segment"]), record["window_start"]): record for record in run.records}
    assert told == newest
    said = [json.loads(line)["data"]["fingerprint"] for line in (tmp_path / "out/alerts.jsonl").read_text().splitlines()]
    assert said == list(run.alerts.fingerprint)
    paths = (tmp_path / "p.parquet", str(tmp_path / "l.parquet"))
    files = tg.replay(*paths, spec=models / "churn.yaml")
    assert files.records == run.records


def test_the_report_is_a_page_and_shown_inline(run: Any, tmp_path: Path) -> None:
    report = run.report(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text("utf-8") == report.html
    assert "churn" in report.html
    assert report._repr_html_().startswith("<iframe srcdoc=")
    with pytest.raises(ReportError, match="no window of other"):
        run.report(model="other")


def test_a_model_without_a_spec_and_without_labels(data: Any) -> None:
    run = tg.replay(data[0])
    assert set(run.metrics.model) == {"churn"}
    assert run.incidents.empty


def test_a_class_is_named_as_a_feature_is_and_has_its_intervals() -> None:
    rng = np.random.default_rng(5)
    said, true = rng.choice(list("abc"), 300), rng.choice(list("abc"), 300)
    ids = [f"r{i}" for i in range(300)]
    predictions = pd.DataFrame({"request_id": ids, "ts": START + np.arange(300.0), "model_version": "m:1", "prediction": said})
    labels = pd.DataFrame({"request_id": ids, "ts": START + np.arange(300.0) + 1, "label": true})
    run = tg.replay(predictions, labels, spec={"model": "m", "task": "multiclass", "windows": ["1d"]})
    found = run.metrics[run.metrics["metric"] == "performance.classes.*.recall"].set_index("feature")
    assert found["value"].to_dict() == pytest.approx({c: np.mean(said[true == c] == c) for c in "abc"})
    intervals = run.records[0]["performance_interval"]["classes"]
    assert found[["low", "high"]].to_numpy().tolist() == [intervals[c]["recall"] for c in "abc"]


def test_what_is_wrong_is_said(data: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="neither a data frame"):
        tg.replay(17)
    with pytest.raises(SpecError, match="did you mean"):
        tg.replay(data[0], spec={"model": "churn", "taks": "binary"})
    both = pd.concat([data[0], data[0].assign(model_version="churn:2")])
    with pytest.raises(BaselineError, match="say version=: churn:1, churn:2"):
        tg.build_baseline(both, {"model": "churn", "task": "binary"})
    with pytest.raises(BaselineError, match="cannot be read"):
        tg.replay(data[0], spec={"model": "churn"}, baseline=tmp_path / "none.json")


def test_importing_tidegauge_loads_none_of_it() -> None:
    code = "import sys, tidegauge; print({'numpy', 'narwhals', 'pandas', 'river'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


class Plan(enum.Enum):
    A, B, C = "a", "b", "c"


def test_columns_of_types_that_arrow_does_not_know_are_read_as_the_plain_values_they_hold(data):
    predictions, _ = data
    visits, band = np.arange(len(predictions)) % 3, pd.cut(predictions["age"], [0, 30, 50, 90])
    odd = predictions.assign(
        plan=predictions["plan"].map(Plan),
        band=band,
        visits=pd.arrays.SparseArray(visits),
        waited=pd.to_timedelta(visits, unit="s"),
    )
    plain = predictions.assign(
        band=[None if pd.isna(of) else str(of) for of in band], visits=visits, waited=[f"PT{of}S" for of in visits]
    )
    found, expected = (tg.replay(frame, spec=SPEC).metrics for frame in (odd, plain))
    assert {"band", "visits", "waited", "plan"} <= set(found["feature"])
    pd.testing.assert_frame_equal(found, expected)
