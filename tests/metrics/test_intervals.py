"""Intervals of performance: against oracles on raw rows, and by how often they hold the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from support.outcomes import binary, classes, line, outcomes
from tidegauge.metrics import interval
from tidegauge.metrics.performance import performance
from tidegauge.metrics.performance_interval import f1, performance_intervals
from tidegauge.metrics.scored_outcomes import scored
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import Task

WINDOWS = 200


TESTED = [(binary, "binary", 300), (binary, "binary", 2000), (classes, "multiclass", 400), (line, "regression", 500)]


@pytest.mark.parametrize(("make", "task", "n"), TESTED)
def test_intervals_hold_the_truth_as_often_as_they_say(
    make: Callable[[np.random.Generator, int], OutcomeProfile], task: Task, n: int
) -> None:
    rng = np.random.default_rng(n)
    truth = performance(make(rng, 100_000), task, "1")
    inside: dict[str, int] = {}
    for _ in range(WINDOWS):
        for name, found in performance_intervals(make(rng, n), task, "1").items():
            if name != "classes":
                inside[name] = inside.get(name, 0) + (found[0] <= truth[name] <= found[1])
    # What a true 95 % does once in 10,000 runs is allowed; the truth itself is known to a few hundredths of an interval.
    least, most = stats.binom.ppf(1e-4, WINDOWS, 0.95), stats.binom.isf(1e-4, WINDOWS, 0.95)
    # That of ECE is on the safe side.
    missed = {name: count for name, count in inside.items() if count < least or (count > most and name != "ece")}
    assert missed == {}
    assert set(inside) == set(truth) - {"classes"}


def delong(positives: Any, negatives: Any) -> float:
    """DeLong's variance from the definition, every pair of a positive and a negative compared."""
    wins = (positives[:, None] > negatives[None, :]) + 0.5 * (positives[:, None] == negatives[None, :])
    return float(wins.mean(axis=1).var(ddof=1) / len(positives) + wins.mean(axis=0).var(ddof=1) / len(negatives))


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_auc_variance_is_delong_s_and_the_bootstrap_s(shift: float) -> None:
    rng = np.random.default_rng(1)
    positives, negatives = stats.norm.cdf(rng.normal(shift, 1, 150)), stats.norm.cdf(rng.normal(0, 1, 350))
    actual, score = np.repeat([1, 0], [150, 350]), np.concatenate((positives, negatives))
    profile = outcomes(actual, actual, score)
    found = scored(profile).auc_variance
    assert found == pytest.approx(delong(positives, negatives), rel=0.02)
    drawn = [
        metrics.roc_auc_score(actual, np.concatenate((rng.choice(positives, 150), rng.choice(negatives, 350))))
        for _ in range(200)
    ]
    assert found == pytest.approx(np.var(drawn), rel=0.4)


def test_regression_intervals_are_those_of_a_bootstrap() -> None:
    rng = np.random.default_rng(2)
    actual = 50 + 20 * rng.gamma(3.0, 1.0, 2000)
    predicted = actual * np.exp(0.1 * rng.normal(size=2000)) + 3
    found = performance_intervals(outcomes(predicted, actual, regression=True), "regression", "1")
    drawn: dict[str, list[float]] = {name: [] for name in found}
    for rows in rng.integers(0, 2000, (300, 2000)):
        p, a = predicted[rows], actual[rows]
        drawn["mae"].append(metrics.mean_absolute_error(a, p))
        drawn["rmse"].append(metrics.root_mean_squared_error(a, p))
        drawn["mape"].append(metrics.mean_absolute_percentage_error(a, p))
        drawn["r2"].append(metrics.r2_score(a, p))
        drawn["bias"].append(float(np.mean(p - a)))
    for name, (low, high) in found.items():
        assert high - low == pytest.approx(2 * 1.96 * np.std(drawn[name]), rel=0.25), name


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e12])
def test_regression_intervals_know_no_unit(scale: float) -> None:
    rng = np.random.default_rng(3)
    actual, noise = rng.normal(5, 2, 300), rng.normal(size=300)
    plain = performance_intervals(outcomes(actual + noise, actual, regression=True), "regression", "1")
    scaled = performance_intervals(outcomes((actual + noise) * scale, actual * scale, regression=True), "regression", "1")
    for name in ("rmse", "r2", "mae", "mape"):
        unit = 1.0 if name in ("r2", "mape") else scale
        assert scaled[name] == pytest.approx(tuple(unit * limit for limit in plain[name]), rel=1e-6), name


def test_macro_averages_are_those_of_a_bootstrap() -> None:
    rng = np.random.default_rng(4)
    actual = rng.choice(3, 1500, p=[0.6, 0.3, 0.1])
    predicted = np.where(rng.random(1500) < 0.75, actual, rng.integers(0, 3, 1500))
    found = performance_intervals(outcomes(predicted, actual), "multiclass", "1")
    drawn = []
    for rows in rng.integers(0, 1500, (200, 1500)):
        drawn.append(metrics.precision_recall_fscore_support(actual[rows], predicted[rows], average="macro")[:3])
    for name, spread in zip(("precision", "recall", "f1"), np.std(np.array(drawn, float), axis=0), strict=True):
        assert found[name][1] - found[name][0] == pytest.approx(2 * 1.96 * spread, rel=0.25), name


def test_wilson_and_student_are_scipy_s() -> None:
    for hits, n, level in ((0, 10, 0.95), (3, 10, 0.9), (200, 200, 0.99), (117, 400, 0.5)):
        expected = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
        assert interval.wilson(hits, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)
    x = np.random.default_rng(5).normal(3, 2, 17)
    expected = stats.t.interval(0.9, 16, x.mean(), stats.sem(x))
    assert interval.mean(x.sum(), (x**2).sum(), 17, 0.9) == pytest.approx(expected)


def test_f1_holds_the_truth_where_the_delta_method_fails() -> None:
    rng = np.random.default_rng(6)
    hit, rest = rng.binomial(40, 0.95, 5000), 40
    held = [low <= 2 * 0.95 / 1.95 <= high for low, high in (f1(int(h), rest, int(h)) for h in hit)]  # type: ignore[misc]
    assert 0.93 < np.mean(held) < 0.98


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e200, 1e200), st.floats(-1e200, 1e200)), min_size=1, max_size=30), st.integers(0, 5))
def test_what_intervals_rest_on_is_taken_back_to_the_last_bit(rows: list[tuple[float, float]], kept: int) -> None:
    predicted, actual = (np.array(column) for column in zip(*rows, strict=True))
    profile = outcomes(predicted, actual, regression=True)
    for numbers in (performance(profile, "regression", "1"), performance_intervals(profile, "regression", "1")):
        assert np.isfinite([value for of in numbers.values() for value in (of if isinstance(of, tuple) else (of,))]).all()
    if kept < len(rows):
        profile.merge(outcomes(predicted[kept:], actual[kept:], regression=True, sign=np.full(len(rows) - kept, -1)))
    assert profile.sums == (outcomes(predicted[:kept], actual[:kept], regression=True).sums if kept else {})
    score = 1 / (1 + np.exp(-np.clip(predicted, -50, 50)))
    whole = outcomes(predicted > 0, actual > 0, score)
    whole.merge(outcomes(predicted > 0, actual > 0, score, sign=np.full(len(rows), -1)))
    assert whole.empty()
