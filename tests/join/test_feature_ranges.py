"""Breakdowns by ranges of a feature: the same as if events had said so themselves, with labels, corrections and baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss

import tidegauge as tg
from tidegauge.engine.stage import ALERTS, METRICS
from tidegauge.errors import SpecError

DAY, START, ROWS = 86400.0, 1_758_931_200.0, 6000
SPEC = """
model: churn
task: binary
segments: [age]
windows: [1d]
grace: 0s
label_horizon: 2d
features:
  age: {AGE}
monitors:
  - {name: brier, metric: performance.brier, window: 1d, above_baseline: 0.02, min_count: 50}
"""
RANGED = SPEC.replace("{AGE}", "{ranges: [30, 45, 60]}")
NAMES = np.array(["below 30", "30 to 45", "45 to 60", "60 or more"])


def drawn(by_name: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Predictions of three days, labels of which some are corrected, and the rows behind; on the last day the labels of the
    youngest are turned around. ``by_name``: events say themselves which range they are in."""
    rng = np.random.default_rng(8)
    age = np.where(rng.random(ROWS) < 0.02, np.nan, rng.uniform(18, 80, ROWS).round())
    score = rng.beta(2, 3, ROWS)
    label = (rng.random(ROWS) < score).astype(int)
    last = np.arange(ROWS) >= 4000
    label = np.where(last & (age < 30), 1 - label, label)
    group = np.where(np.isnan(age), "missing", NAMES[np.searchsorted([30, 45, 60], np.nan_to_num(age), side="right")])
    ts = START + np.arange(ROWS) * DAY / 2000
    predictions = pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(ROWS)], "ts": ts, "model_version": "churn:1",
            "prediction": (score > 0.5).astype(int), "score": score, "age": age,
        }
    )  # fmt: skip
    if by_name:
        predictions["segments.age"] = group
    wrong = rng.random(ROWS) < 0.2
    labels = pd.DataFrame(
        {"request_id": predictions["request_id"], "ts": ts + 600.0, "label": np.where(wrong, 1 - label, label)}
    )
    corrected = pd.DataFrame({"request_id": predictions["request_id"], "ts": ts + 3600.0, "label": label})[wrong]
    rows = pd.DataFrame({"day": np.arange(ROWS) // 2000, "group": group, "score": score, "label": label})
    return predictions, pd.concat([labels, corrected]), rows


def run(spec: str, by_name: bool) -> tuple[Any, pd.DataFrame]:
    predictions, labels, rows = drawn(by_name)
    baseline = tg.build_baseline(predictions[:4000].assign(label=rows.label[:4000]), spec)
    return tg.replay(predictions, labels, spec=spec, baseline=baseline), rows


@pytest.fixture(scope="module")
def ranged() -> tuple[Any, pd.DataFrame]:
    return run(RANGED, by_name=False)


def test_each_range_has_the_numbers_of_its_rows(ranged: Any) -> None:
    made, rows = ranged
    found = [record for record in made.records if record["segment"]]
    assert {record["segment"]["age"] for record in found} == {*NAMES, "missing"}
    for record in found:
        day = round((pd.Timestamp(record["window_start"]).timestamp() - START) / DAY)
        own = rows[(rows.day == day) & (rows.group == record["segment"]["age"])]
        assert (record["predictions"], record["labels"]) == (len(own), len(own))
        assert record["performance"]["brier"] == pytest.approx(brier_score_loss(own.label, own.score), abs=1e-9)


def test_segments_by_ranges_of_a_feature_are_as_if_events_named_them(ranged: Any) -> None:
    named, _ = run(SPEC.replace("{AGE}", "{type: number}"), by_name=True)
    members = (
        "segment",
        "window_start",
        "revision",
        "predictions",
        "labels",
        "performance",
        "label_mix",
        "label_delay_seconds",
    )
    first, second = ([{m: r.get(m) for m in members} for r in made._decoded(METRICS)] for made in (ranged[0], named))
    assert first == second
    first, second = ([e["data"]["evidence"]["carriers"] for e in made._decoded(ALERTS)] for made in (ranged[0], named))
    assert first == second


def test_the_range_that_carries_a_drop_is_found(ranged: Any) -> None:
    (alert,) = (event["data"] for event in ranged[0]._decoded(ALERTS))
    first = alert["evidence"]["carriers"][0]
    assert first["segment"] == {"age": "below 30"}
    assert first["share"] > 0.9
    assert "age=below 30 carries" in alert["annotations"]["description"]


@pytest.mark.parametrize(
    ("age", "why"),
    [
        ("{ranges: [45, 30]}", "must ascend"), ("{ranges: []}", "1 to 20 numbers"), ("{ranges: [a]}", "number"),
        ("{ranges: [30], type: category}", "belongs to features of type number"),
        ("{ranges: [30], pii: hash}", "what is dropped or hashed"),
    ],
)  # fmt: skip
def test_ranges_that_cannot_be_used_are_refused(tmp_path: Path, age: str, why: str) -> None:
    with pytest.raises(SpecError, match=why):
        tg.replay(drawn(False)[0][:10], None, spec=SPEC.replace("{AGE}", age), baseline=None)


def test_values_that_are_no_numbers_are_a_range_of_their_own(tmp_path: Path) -> None:
    features = [{"age": "old"}, {"age": None}, {"other": 1}, {"age": 29}, {"age": 30}, {}, None]
    events = [
        {"request_id": str(i), "ts": START + i, "model_version": "churn:1", "prediction": 1, "score": 0.7, "features": of}
        for i, of in enumerate(features)
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    made = tg.replay(path, None, spec=SPEC.replace("{AGE}", "{ranges: [30]}"))
    counts = {record["segment"].get("age", ""): record["predictions"] for record in made.records}
    # Of an event without features nothing is said.
    assert counts == {"": 7, "no number": 1, "missing": 2, "below 30": 1, "30 or more": 1}
