"""A number that cannot be computed costs itself, not the record and not the events; and odd scores are no such inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

import tidegauge as tg
from support.events import START
from support.schemas import mistakes
from tidegauge.metrics import record as records
from tidegauge.metrics.members import NOT_COMPUTED, computed, united

ODD = st.sampled_from([0.0, 1.0, 0.5, 5e-324, 1e-300, 1e-17, 1e-6, 1 - 1e-16, 0.1, 0.3, 0.9999999])


def broken(*_: Any, **__: Any) -> Any:
    return 1 / 0


def frames(scores: list[float], truths: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    n = len(scores)
    ids, ts = [f"r{i}" for i in range(n)], START + np.arange(n)
    predictions = {"request_id": ids, "ts": ts, "model_version": "m:1", "score": scores, "a": np.arange(n) % 7}
    return (
        pd.DataFrame(predictions | {"prediction": [int(score > 0.5) for score in scores]}),
        pd.DataFrame({"request_id": ids, "ts": ts + 60, "label": truths}),
    )


SPEC = {"model": "m", "task": "binary", "windows": ["1h"]}


@settings(max_examples=40)
@given(st.lists(st.tuples(ODD, st.integers(0, 1)), min_size=20, max_size=120))
def test_scores_of_any_kind_have_all_their_numbers(rows: list[tuple[float, int]]) -> None:
    scores, truths = zip(*rows, strict=True)
    run = tg.replay(*frames(list(scores), list(truths)), spec=SPEC)
    (record,) = run.records
    assert record["predictions"] == record["labels"] == len(rows)
    assert NOT_COMPUTED not in record
    assert mistakes("metrics-record", record) == []
    said = record["performance"]
    assert said["accuracy"] == pytest.approx(accuracy_score(truths, np.array(scores) > 0.5))
    assert said["brier"] == pytest.approx(brier_score_loss(truths, scores), abs=1e-9)
    assert said["log_loss"] == pytest.approx(log_loss(truths, np.clip(scores, 1e-15, 1 - 1e-15), labels=[0, 1]), rel=1e-6)
    if len(set(truths)) == 2:
        assert said["roc_auc"] == pytest.approx(roc_auc_score(truths, scores), abs=1e-3)


def test_scores_that_are_the_predicted_class_are_refuted_by_one_error() -> None:
    hard = [0.0, 1.0] * 50
    (sound,) = tg.replay(*frames(hard, [int(score) for score in hard]), spec=SPEC).records
    (wrong,) = tg.replay(*frames(hard, [1, *(int(score) for score in hard[1:])]), spec=SPEC).records
    assert (sound["calibration"]["p_value"], wrong["calibration"]["p_value"]) == (1, 0)


def test_what_raises_is_named_and_the_others_stand(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert computed({"a": broken, "b": lambda: 2}) == {"b": 2, NOT_COMPUTED: {"a": "ZeroDivisionError: division by zero"}}
    assert united({"x": 1, NOT_COMPUTED: {"a": "1"}}, {"y": 2}, {NOT_COMPUTED: {"b": "2"}}) == {
        "x": 1, "y": 2, NOT_COMPUTED: {"a": "1", "b": "2"},
    }  # fmt: skip
    # Faults of ours, one on either side of a record.
    monkeypatch.setattr(records, "calibration_numbers", broken)
    monkeypatch.setattr(records, "data_numbers", broken)
    scores = list(np.linspace(0.05, 0.95, 300))
    run = tg.replay(*frames(scores, [int(score > 0.4) for score in scores]), spec=SPEC)
    (record,) = run.records
    assert {*record[NOT_COMPUTED]} == {"data", "calibration"}
    assert mistakes("metrics-record", record) == []
    assert (record["predictions"], record["labels"], len(run.dead_letters)) == (300, 300, 0)
    assert record["performance"]["roc_auc"] == pytest.approx(1.0)
    told = [line.getMessage() for line in caplog.records if line.name.startswith("tidegauge.metrics")]
    assert len(told) == len(set(told))
