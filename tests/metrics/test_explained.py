"""What the shift of the inputs explains of a drop, on streams whose cause is known, and against a computation row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

import tidegauge as tg
from tidegauge.engine.stage import ALERTS
from tidegauge.metrics.explained import explained

START, DAY, ROWS, DAYS = 1_758_931_200.0, 86400.0, 4000, 3
SPEC = """
model: churn
task: binary
windows: [1d]
grace: 0s
label_horizon: 1d
monitors:
  - {name: auc, metric: performance.roc_auc, window: 1d, below_baseline: 0.03, min_count: 50}
  - {name: brier, metric: performance.brier, window: 1d, above_baseline: 0.02, min_count: 50}
  - {name: calibration, metric: performance.ece, window: 1d, above_baseline: 0.05, min_count: 50}
  - {name: accuracy, metric: performance.accuracy, window: 1d, below_baseline: 0.02, min_count: 50}
"""


def drawn(seed: int, kind: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Days of a model that knows how likely churn is. On the last day nothing changes, or the customers come nearer to the
    line between the classes (``inputs``), or a third of all of them answers by chance (``concept``)."""
    rng = np.random.default_rng(seed)
    n = ROWS * DAYS
    last = np.arange(n) // ROWS == DAYS - 1
    x = rng.normal(0.0, 2.0, n)
    if kind == "inputs":
        x = np.where(last, x / 3, x)
    score = 1 / (1 + np.exp(-x))
    truth = np.where(last & (rng.random(n) < 1 / 3), 0.5, score) if kind == "concept" else score
    predictions = pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)], "ts": START + np.arange(n) * DAY / ROWS, "model_version": "churn:1",
            "prediction": (score > 0.5).astype(int), "score": score, "x": x,
        }
    )  # fmt: skip
    return predictions, pd.DataFrame(
        {"request_id": predictions["request_id"], "ts": predictions["ts"] + 600.0, "label": (rng.random(n) < truth).astype(int)}
    )


@pytest.fixture(scope="module")
def baseline() -> Any:
    predictions, labels = drawn(1, "none")
    return tg.build_baseline(predictions.assign(label=labels["label"]), SPEC)


def of_last_day(kind: str, baseline: Any) -> dict[str, dict[str, Any]]:
    """The firing alerts' data by name."""
    run = tg.replay(*drawn(2, kind), spec=SPEC, baseline=baseline)
    return {e["data"]["labels"]["alertname"]: e["data"] for e in run._decoded(ALERTS) if e["data"]["status"] == "firing"}


def test_a_shift_of_the_inputs_explains_the_drop_it_brings(baseline: Any) -> None:
    found = of_last_day("inputs", baseline)
    assert {"auc", "brier", "accuracy"} <= found.keys()
    assert "calibration" not in found
    for name in ("auc", "brier", "accuracy"):
        assert found[name]["evidence"]["explained"]["share"] > 0.85, name
        assert "the shift of the inputs explains" in found[name]["annotations"]["description"]


def test_what_another_relation_to_the_outcome_brings_it_does_not_explain(baseline: Any) -> None:
    found = of_last_day("concept", baseline)
    assert {"auc", "brier", "accuracy"} <= found.keys()
    for name, data in found.items():
        why = data["evidence"]["explained"]
        assert why["share"] < 0.15, name
        assert why["shift"] + why["remaining"] == pytest.approx(data["value"] - data["baseline"], abs=1e-9)


def test_what_is_expected_is_what_the_scores_say_row_by_row(baseline: Any) -> None:
    """Each prediction once as positive and once as negative, weighted by how likely that is."""
    predictions, _ = drawn(2, "inputs")
    p = predictions["score"].to_numpy()[-ROWS:]
    both, truth, weight = np.concatenate((p, p)), np.repeat([1, 0], ROWS), np.concatenate((p, 1 - p))
    found = of_last_day("inputs", baseline)
    expected = {name: found[name]["evidence"]["explained"]["expected"] for name in ("auc", "brier")}
    # The baseline's calibration is learned from 12,000 labels, so that it is not the score itself to the last digit.
    assert expected["auc"] == pytest.approx(roc_auc_score(truth, both, sample_weight=weight), abs=0.02)
    assert expected["brier"] == pytest.approx(brier_score_loss(truth, both, sample_weight=weight), abs=0.005)


def test_the_expected_log_loss_is_that_of_a_batch_computation(baseline: Any) -> None:
    spec = (
        SPEC[: SPEC.index("  - ")]
        + "  - {name: log-loss, metric: performance.log_loss, window: 1d, above: 0.5, min_count: 50}\n"
    )
    run = tg.replay(*drawn(2, "inputs"), spec=spec, baseline=baseline)
    (data,) = (e["data"] for e in run._decoded(ALERTS) if e["data"]["status"] == "firing")
    p = drawn(2, "inputs")[0]["score"].to_numpy()[-ROWS:]
    both, truth, weight = np.concatenate((p, p)), np.repeat([1, 0], ROWS), np.concatenate((p, 1 - p))
    assert data["evidence"]["explained"]["expected"] == pytest.approx(log_loss(truth, both, sample_weight=weight), abs=0.01)


def test_of_no_change_nothing_is_explained() -> None:
    assert explained(0.8, 0.8, 0.8).share == 0.0
    assert explained(0.7, 0.8, 0.6).share == 1.0
    assert explained(0.7, 0.8, 0.9).share == 0.0
