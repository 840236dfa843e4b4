"""Losses by ranges of features: what counts as a loss of each task, and how scores that are read the other way change them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidegauge.join.outcome_columns import OutcomeRow, outcome_columns
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.range_losses import RangeCodes, sums_of
from tidegauge.spec import ModelSpec

CODES = RangeCodes("r", 8.0, np.array([0, 2, 3]), np.array([[1, 4], [1, 5], [0, 5]], np.uint8))


def profile(values: list[Any], scores: list[Any], labels: list[Any], spec: ModelSpec, sign: int = 1) -> OutcomeProfile:
    rows = [
        OutcomeRow(0, 0.0, value, score, None, label, None, 1.0, sign, True, b"r", 1.0)
        for value, score, label in zip(values, scores, labels, strict=True)
    ]
    columns = outcome_columns(rows, spec)
    columns.codes = CODES
    return OutcomeGroups(columns).group(np.arange(len(rows)), np.array([0]), True)[0]


NONE = [None] * 4


@pytest.mark.parametrize(
    ("task", "values", "scores", "labels", "losses"),
    [
        ("binary", [1, 0, 0, 1], [0.75, 0.1, 0.5, 0.25], [1, 0, 1, 0], (0.0625, 0.25, 0.0625)),
        ("binary", [1, 0, 0, 1], NONE, [1, 0, 1, 0], (0, 1, 1)),
        ("multiclass", ["a", "b", "a", "c"], [0.9, 0.5, 0.4, 0.4], ["a", "b", "b", "c"], (0, 1, 0)),
        ("regression", [1.0, 0.0, 5.0, 100.0], NONE, [3.0, 0.0, 1.0, 0.0], (0.25, 0.5, 1.0)),
    ],
)
def test_the_loss_of_each_task(task: Any, values: Any, scores: Any, labels: Any, losses: tuple[float, ...]) -> None:
    first, second, third = losses
    sums = sums_of(profile(values, scores, labels, ModelSpec("m", task=task)).ranges["r"])
    assert sums.labels[:2, :6].tolist() == [[1, 2, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2]]
    assert sums.loss[0, :2].tolist() == [third, first + second]
    assert sums.squares[1, 4:6].tolist() == [first**2, second**2 + third**2]


def test_what_is_taken_back_leaves_no_trace() -> None:
    spec = ModelSpec("m", task="binary")
    made = [profile([1, 0, 0, 1], [0.7, 0.1, 0.3, 0.2], [1, 0, 1, 0], spec, sign) for sign in (1, -1)]
    made[0].merge(made[1])
    assert not made[0].ranges
    assert made[0].empty()


def test_scores_that_are_read_the_other_way_have_the_losses_of_that_reading() -> None:
    values, labels = [1, 0, 0, 0], [1, 0, 1, 0]
    open_spec, said = ModelSpec("m", task="binary"), ModelSpec("m", task="binary", confidence_is="predicted")
    made = profile(values, [0.8, 0.9, 0.9, 0.7], labels, open_spec)
    told = profile(values, [0.8, 0.1, 1 - 0.9, 1 - 0.7], labels, said)
    again = OutcomeProfile.unpack(made.pack())
    assert len(again.ranges) == 2
    assert again.read_otherwise().ranges["r"].pack() == told.ranges["r"].pack()
    assert set(again.read_otherwise().ranges) == {"r"}
