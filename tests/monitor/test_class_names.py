"""Classes under any names: with the positive one named every number is scikit-learn's; unnamed, none says something false."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, precision_score, recall_score, roc_auc_score

import tidegauge as tg
from support.events import START
from support.schemas import mistakes

N = 600
WORDS = [("no", "yes"), ("stayed", "churned"), ("good", "bad"), ("N", "Y"), ("negative", "positive")]


def replayed(
    negative: Any, positive: Any, scale: float = 1.0, *, labelled: bool = True, **spec: Any
) -> tuple[dict[str, Any], Any, Any, Any, Any]:
    """The record of the whole model and the run; truth, prediction and score of the rows."""
    rng = np.random.default_rng(5)
    score = rng.random(N)
    predicted, actual = score > 0.4, rng.random(N) < score
    ids, ts = [f"r{i}" for i in range(N)], START + np.arange(N)
    names = np.array([negative, positive], object)
    predictions = pd.DataFrame(
        {"request_id": ids, "ts": ts, "model_version": "m:1", "prediction": names[predicted.astype(int)],
         "score": score * scale, "segments.region": rng.choice(["eu", "us"], N)}
    )  # fmt: skip
    labels = pd.DataFrame({"request_id": ids, "ts": ts + 60, "label": names[actual.astype(int)]})
    given = {"model": "m", "task": "binary", "windows": ["1h"], "segments": ["region"]} | spec
    run = tg.replay(predictions, labels if labelled else None, spec=given)
    (record,) = (record for record in run.records if not record["segment"])
    assert mistakes("metrics-record", record) == []
    return record, run, actual, predicted, score


@pytest.mark.parametrize(
    ("negative", "positive", "named"),
    [(0, 1, False), (-1, 1, False), (2, 1, False), (False, True, False), ("0", "1", False), (1, 2, True), (1, 0, True)]
    + [(*pair, True) for pair in WORDS],
)
def test_where_the_positive_class_is_known_numbers_are_those_of_the_rows(negative: Any, positive: Any, named: bool) -> None:
    record, run, actual, predicted, score = replayed(negative, positive, **({"positive_label": positive} if named else {}))
    said = record["performance"]
    assert said["accuracy"] == pytest.approx(accuracy_score(actual, predicted))
    assert said["precision"] == pytest.approx(precision_score(actual, predicted))
    assert said["recall"] == pytest.approx(recall_score(actual, predicted))
    assert said["f1"] == pytest.approx(f1_score(actual, predicted))
    assert said["roc_auc"] == pytest.approx(roc_auc_score(actual, score), abs=1e-3)
    assert said["brier"] == pytest.approx(brier_score_loss(actual, score), abs=1e-9)
    assert record["prediction"]["positive_ratio"] == pytest.approx(predicted.mean())
    assert record["label_mix"]["positive_ratio"] == pytest.approx(actual.mean())
    assert record["estimated"]["accuracy"] == pytest.approx(np.where(predicted, score, 1 - score).mean(), abs=2e-3)
    assert run.alerts.empty


@pytest.mark.parametrize(("negative", "positive"), WORDS)
def test_of_two_words_nothing_is_said_of_the_positive_one_until_the_spec_names_it(negative: str, positive: str) -> None:
    record, run, actual, predicted, _ = replayed(negative, positive)
    assert record["performance"] == {"accuracy": pytest.approx(accuracy_score(actual, predicted)), "unknown_class_ratio": 1.0}
    assert not {"calibration", "label_mix"} & record.keys()
    assert "positive_ratio" not in record["prediction"]
    assert {"accuracy", "f1", "recall"}.isdisjoint(record["estimated"])
    assert "selection_rate_gap" not in record["fairness"]["region"]
    (alert,) = run.alerts.itertuples()
    assert (alert.alertname, alert.severity) == ("unknown-classes", "critical")
    assert "say positive_label in the spec" in alert.description
    (incident,) = run.incidents.itertuples()
    assert incident.title.startswith("The spec has not said which class is the positive one")


@pytest.mark.parametrize("scale", [100.0, -1.0])
def test_scores_that_are_no_probabilities_are_told(scale: float) -> None:
    record, run, actual, predicted, _ = replayed(0, 1, scale)
    assert {*record["performance"]} == {"accuracy", "precision", "recall", "f1", "no_probability_ratio"}
    assert record["performance"]["accuracy"] == pytest.approx(accuracy_score(actual, predicted))
    assert not {"calibration", "estimated"} & record.keys()
    (alert,) = run.alerts.itertuples()
    assert (alert.alertname, alert.severity) == ("no-probability", "critical")
    assert "the probability of the positive class, from 0 to 1" in alert.description


@pytest.mark.parametrize("scale", [100.0, -1.0])
@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_scores_that_are_no_probabilities_are_told_while_there_are_no_labels(task: str, scale: float) -> None:
    record, run, *_, score = replayed(0, 1, scale, labelled=False, task=task)
    outside = (score * scale < 0) | (score * scale > 1)
    assert record["prediction"]["no_probability_ratio"] == pytest.approx(outside.mean())
    (alert,) = run.alerts.itertuples()
    assert (alert.alertname, alert.severity) == ("no-probability", "critical")
    (incident,) = run.incidents.itertuples()
    assert incident.title.startswith("Scores are no probabilities")


def test_a_regression_may_have_any_score() -> None:
    record, run, *_ = replayed(0, 1, 100.0, labelled=False, task="regression")
    assert "no_probability_ratio" not in record["prediction"]
    assert run.alerts.empty
