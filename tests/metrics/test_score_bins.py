"""Scores are told apart wherever they lie: the AUC of the histograms against scikit-learn's on the scores themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from tidegauge.metrics.estimated import estimated
from tidegauge.metrics.performance import probabilities
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.data import PREDICTED_NEGATIVE
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.score_grid import SCORE_BINS, SCORES, score_bins

Scores = NDArray[np.float64]


def outcome_of(scores: Scores, positive: NDArray[np.int64]) -> OutcomeProfile:
    n = len(scores)
    none = [None] * n
    columns = OutcomeColumns(
        np.ones(n, np.int64), np.ones(n, bool), none, none, None, scores, positive, None, {}, np.zeros(n)
    )  # fmt: skip
    return OutcomeGroups(columns).group(np.arange(n), np.array([0]))[0]


def logistic(z: Scores) -> Scores:
    return np.asarray(1 / (1 + np.exp(-z)))


LOGITS: dict[str, Callable[[Scores], Scores]] = {
    "moderate": logistic,
    "of rare events": lambda z: 10 ** (-6.5 + 0.4 * z),
    "of the rarest": lambda z: 10 ** (-60 + 8 * z),
    "mostly near 1": lambda z: 1 - 10 ** (-6.5 - 0.4 * np.clip(z, -10, 20)),
    "float32": lambda z: logistic((10 * (z - 0.75)).astype(np.float32)).astype(np.float64),
    "hundredths": lambda z: np.round(logistic(z), 2),
    "thousandths": lambda z: np.round(logistic(z), 3),
    "a narrow band": lambda z: 0.49 + 0.02 * logistic(z),
    "a narrow band of rare events": lambda z: 0.02 + 0.001 * logistic(z),
    "nearly all 0 or 1": lambda z: logistic(30 * z),
    **{f"logits x {k}": lambda z, k=k: logistic(k * (z - 0.75)) for k in (2, 5, 10, 20, 30)},  # type: ignore[misc]
}


@pytest.mark.parametrize("name", LOGITS)
def test_auc_is_within_a_thousandth_wherever_scores_lie(name: str) -> None:
    rng = np.random.default_rng(0)
    positive = (rng.random(8000) < 0.2).astype(np.int64)
    scores = np.asarray(LOGITS[name](rng.normal(size=8000) + 1.5 * positive), np.float64)
    found = probabilities(outcome_of(scores, positive))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(positive, scores), abs=1e-3)
    assert found["brier"] == pytest.approx(brier_score_loss(positive, scores), abs=1e-9)
    assert found["log_loss"] == pytest.approx(log_loss(positive, np.clip(scores, 1e-15, 1 - 1e-15)), abs=1e-9)
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs((scores[bins == b] - positive[bins == b]).sum()) for b in range(10)]
    assert found["ece"] == pytest.approx(sum(gaps) / 8000, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.05, 20.0), st.floats(0.05, 20.0), st.floats(0.0, 2.0), st.integers(0, 2**32 - 1))
def test_auc_of_any_beta_distributed_scores(a: float, b: float, power: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.beta(a, b, 4000)
    positive = (rng.random(4000) < scores**power * 0.9).astype(np.int64)
    if 0 < positive.sum() < 4000:
        found = probabilities(outcome_of(scores, positive))
        assert found["roc_auc"] == pytest.approx(roc_auc_score(positive, scores), abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.0, 1.0) | st.floats(0.0, 1e-300) | st.floats(0.0, 1e-12).map(lambda x: 1 - x), min_size=1))
def test_bins_ascend_with_the_scores_and_hold_them(values: list[float]) -> None:
    scores = np.sort(np.array(values))
    bins = score_bins(scores)
    assert (np.diff(bins) >= 0).all()
    assert bins.min() >= 0
    assert bins.max() < SCORE_BINS
    tail = np.minimum(scores, 1 - scores)
    middle = np.minimum(SCORES[bins], 1 - SCORES[bins])
    wide = (tail > 2.0**-24) & (tail < 0.5)
    assert middle[wide] == pytest.approx(tail[wide], rel=1 / 128)
    assert score_bins(np.array([0.0, 1.0])).tolist() == [0, SCORE_BINS - 1]


@pytest.mark.parametrize("places", [100, 1000])
def test_grids_keep_each_of_their_scores(places: int) -> None:
    assert len(np.unique(score_bins(np.arange(places + 1) / places))) == places + 1


def test_the_estimate_of_rare_events_is_what_happens() -> None:
    rng = np.random.default_rng(1)
    scores = 10 ** rng.normal(-3, 0.5, 200_000)
    outcomes = rng.random(len(scores)) < scores
    counted = SparseCounts(*np.unique(PREDICTED_NEGATIVE + score_bins(scores), return_counts=True))
    found = estimated(counted, None, "binary")
    assert found["roc_auc"] == pytest.approx(roc_auc_score(outcomes, scores), abs=0.03)
    assert found["accuracy"] == pytest.approx(1 - scores.mean(), abs=1e-6)


def test_taken_back_scores_leave_no_trace() -> None:
    rng = np.random.default_rng(2)
    scores, positive = 10 ** rng.normal(-6, 2, 500).clip(-300, 0), rng.integers(0, 2, 500)
    whole, first = outcome_of(scores, positive), outcome_of(scores[:200], positive[:200])
    second = outcome_of(scores[200:], positive[200:])
    second.histograms.counts = -second.histograms.counts
    whole.merge(second)
    assert whole.histograms.pack() == first.histograms.pack()


def test_scores_that_are_no_probabilities_are_told() -> None:
    rng = np.random.default_rng(3)
    positive = rng.integers(0, 2, 1000)
    margins = rng.normal(size=1000) + positive
    found = probabilities(outcome_of(margins, positive))
    assert found == {"no_probability_ratio": ((margins < 0) | (margins > 1)).mean()}
    rounded = np.append(rng.random(999), 1.0000001)
    found = probabilities(outcome_of(rounded, positive))
    assert found["no_probability_ratio"] == 0.001
    assert found["roc_auc"] == pytest.approx(roc_auc_score(positive[:-1], rounded[:-1]), abs=1e-3)
