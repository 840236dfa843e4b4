"""Probabilities and numbers as people send them: what is said of them is scikit-learn's number, or nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, log_loss, mean_absolute_error, r2_score

import tidegauge as tg
from support.events import START
from support.schemas import mistakes

N = 300
RNG = np.random.default_rng(8)
P = RNG.dirichlet([1, 1, 1], N)
PREDICTED, ACTUAL = P.argmax(axis=1), np.array([RNG.choice(3, p=row) for row in P])


def record_of(task: str, prediction: Any, label: Any, **columns: Any) -> tuple[dict[str, Any], list[str]]:
    """The record of the one window, and the names of the alerts."""
    ids, ts = [f"r{i}" for i in range(N)], START + np.arange(N)
    events = pd.DataFrame({"request_id": ids, "ts": ts, "model_version": "m:1", "prediction": prediction, **columns})
    labels = pd.DataFrame({"request_id": ids, "ts": ts + 60, "label": label})
    run = tg.replay(events, labels, spec={"model": "m", "task": task, "windows": ["1h"]})
    (record,) = run.records
    assert mistakes("metrics-record", record) == []
    assert record["labels"] == N
    return record, sorted(run.alerts.alertname)


@pytest.mark.parametrize("name", [str, lambda k: f"{k}.0", lambda k: "abc"[k]])
@pytest.mark.parametrize("label", [int, float, str])
def test_class_names_that_were_floats_once(name: Any, label: Any) -> None:
    of = (lambda k: "abc"[k]) if name(0) == "a" else label
    columns = {f"probabilities.{name(k)}": P[:, k] for k in range(3)}
    record, _ = record_of("multiclass", list(map(of, PREDICTED.tolist())), list(map(of, ACTUAL.tolist())), **columns)
    assert record["performance"]["log_loss"] == pytest.approx(log_loss(ACTUAL, P))
    assert record["performance"]["accuracy"] == pytest.approx(accuracy_score(ACTUAL, PREDICTED))


def test_the_log_loss_rests_on_the_rows_whose_probability_is_known() -> None:
    top = [{f"{k}": float(P[i, k])} for i, k in enumerate(PREDICTED)]
    record, _ = record_of("multiclass", PREDICTED, ACTUAL, probabilities=[str(one).replace("'", '"') for one in top])
    right = PREDICTED == ACTUAL
    assert record["performance"]["log_loss"] == pytest.approx(-np.log(P.max(axis=1)[right]).mean())
    assert record["performance_counts"]["log_loss"] == right.sum()
    percent = {f"probabilities.{k}": 100 * P[:, k] for k in range(3)}
    record, _ = record_of("multiclass", PREDICTED, ACTUAL, **percent)
    assert "log_loss" not in record["performance"]
    assert record["performance"]["accuracy"] == pytest.approx(accuracy_score(ACTUAL, PREDICTED))


@pytest.mark.parametrize(
    ("offset", "scale"), [(0.0, 1.0), (1.7e9, 3600.0), (0.0, 1e-12), (0.0, 1e20), (1e12, 1.0), (-4e3, 1e-2)]
)
def test_regressions_of_any_magnitude_have_scikit_learns_numbers(offset: float, scale: float) -> None:
    actual = RNG.normal(0, 1, N) * scale + offset
    predicted = actual + RNG.normal(0.1, 0.3, N) * scale
    record, alerts = record_of("regression", predicted, actual)
    said = record["performance"]
    assert said["mae"] == pytest.approx(mean_absolute_error(actual, predicted), rel=1e-5)
    if offset == 1e12:
        assert "r2" not in said, "the squares' rounding is larger than their spread"
    else:
        assert said["r2"] == pytest.approx(r2_score(actual, predicted), abs=1e-4)
    assert alerts == []


def test_numbers_too_large_to_be_summed_are_told() -> None:
    record, alerts = record_of("regression", RNG.normal(0, 1, N) * 1e30, RNG.normal(0, 1, N) * 1e30)
    assert "performance" not in record
    assert record["unreadable_label_ratio"] == 1
    assert "unreadable-labels" in alerts
