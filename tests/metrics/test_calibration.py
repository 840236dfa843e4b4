"""Calibration: the parts sum to the Brier score, and its tests and intervals err as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from support.outcomes import outcomes
from tidegauge.metrics.calibration import calibration_numbers, ece_interval
from tidegauge.metrics.performance import performance
from tidegauge.profile.outcome import OutcomeProfile


def scored(rng: np.random.Generator, n: int, truth: str = "true") -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """Scores and what came true: as often as they say, or off."""
    score = rng.beta(0.7, 2.0, n)
    chance = {"true": score, "over": score**1.5, "under": np.sqrt(score), "slightly": 0.97 * score}[truth]
    return score, (rng.random(n) < chance).astype(int)


def profile(rng: np.random.Generator, n: int, truth: str = "true") -> OutcomeProfile:
    score, actual = scored(rng, n, truth)
    return outcomes(actual, actual, score)


@pytest.mark.parametrize("truth", ["true", "over", "under"])
def test_the_parts_are_those_of_the_rows_and_sum_to_the_brier_score(truth: str) -> None:
    score, actual = scored(np.random.default_rng(1), 5000, truth)
    found = calibration_numbers(outcomes(actual, actual, score))
    place = np.minimum((score * 10).astype(int), 9)
    forecast, outcome = score.copy(), actual.astype(float)
    for k in range(10):
        forecast[place == k], outcome[place == k] = score[place == k].mean(), actual[place == k].mean()
    assert found["reliability"] == pytest.approx(((forecast - outcome) ** 2).mean(), abs=1e-12)
    assert found["resolution"] == pytest.approx(((outcome - actual.mean()) ** 2).mean(), abs=1e-12)
    assert found["uncertainty"] == pytest.approx(actual.var(), abs=1e-12)
    assert found["within_bin_variance"] == pytest.approx(((score - forecast) ** 2).mean(), abs=1e-12)
    assert found["within_bin_covariance"] == pytest.approx(2 * ((actual - outcome) * (score - forecast)).mean(), abs=1e-12)
    parts = found["reliability"] - found["resolution"] + found["uncertainty"]
    parts += found["within_bin_variance"] - found["within_bin_covariance"]
    assert parts == pytest.approx(brier_score_loss(actual, score), abs=1e-12)
    ratios, means = calibration_curve(actual, score, n_bins=10)
    assert [b["positive_ratio"] for b in found["bins"]] == pytest.approx(ratios)
    assert [b["mean_score"] for b in found["bins"]] == pytest.approx(means)
    assert sum(b["count"] for b in found["bins"]) == 5000
    assert all(b["interval"][0] <= b["positive_ratio"] <= b["interval"][1] for b in found["bins"])


def test_p_values_are_uniform_where_scores_are_true_and_small_where_not() -> None:
    rng = np.random.default_rng(2)
    p = [calibration_numbers(profile(rng, 800))["p_value"] for _ in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert np.mean([calibration_numbers(profile(rng, 800, "over"))["p_value"] < 0.01 for _ in range(25)]) > 0.9


def test_no_p_value_of_too_few() -> None:
    assert "p_value" not in calibration_numbers(profile(np.random.default_rng(3), 12))
    assert calibration_numbers(OutcomeProfile()) == {}


@pytest.mark.parametrize("truth", ["true", "slightly", "over", "under"])
def test_ece_intervals_hold_the_truth(truth: str) -> None:
    rng = np.random.default_rng(4)
    exact = performance(profile(rng, 100_000, truth), "binary", "1")["ece"] if truth != "true" else 0.0
    held = []
    for _ in range(150):
        found = ece_interval(profile(rng, 500, truth))
        assert found is not None
        held.append(found[0] <= exact <= found[1])
    assert sum(held) >= stats.binom.ppf(1e-4, 150, 0.95)
