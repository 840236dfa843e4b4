"""Fairness: gaps and their p-values against SciPy on raw counts, false alarms, and monitors through the pipeline."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from support.driver import Pipeline
from support.outcomes import outcomes
from tidegauge.engine.stage import ALERTS, LABELS, METRICS, PREDICTIONS
from tidegauge.metrics.fairness import fairness, means_p_value, rates_p_value
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec


def group(rng: np.random.Generator, n: int, lift: float = 0.0) -> dict[str, Any]:
    score = rng.random(n)
    actual = (rng.random(n) < score).astype(int)
    return {"score": np.clip(score + lift, 0, 1), "actual": actual, "predicted": (score + lift > 0.5).astype(int)}


def test_gaps_and_ratio_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    rows = {"a": group(rng, 400), "b": group(rng, 700, 0.1), "c": group(rng, 300, -0.1), "few": group(rng, 50, 0.4)}
    found = fairness({v: outcomes(of["predicted"], of["actual"], of["score"]) for v, of in rows.items()}, "binary", "1", 100)
    measured: dict[str, list[float]] = {}
    for of in (rows[v] for v in "abc"):
        p, y = of["predicted"] == 1, of["actual"] == 1
        for measure, value in (
            ("accuracy", np.mean(p == y)), ("selection_rate", np.mean(p)), ("true_positive_rate", np.mean(p[y])),
            ("false_positive_rate", np.mean(p[~y])), ("precision", np.mean(y[p])),
            ("calibration", np.mean(of["score"] - of["actual"])),
        ):  # fmt: skip
            measured.setdefault(measure, []).append(float(value))
    for measure, values in measured.items():
        assert found[f"{measure}_gap"] == pytest.approx(max(values) - min(values), abs=1e-12)
        assert found["extremes"][measure] == ["abc"[int(np.argmin(values))], "abc"[int(np.argmax(values))]]
    rates = measured["selection_rate"]
    assert found["disparate_impact_ratio"] == pytest.approx(min(rates) / max(rates))
    table = [[of["predicted"].sum(), len(of["predicted"]) - of["predicted"].sum()] for of in (rows[v] for v in "abc")]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert found["selection_rate_gap_p_value"] == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30))
def test_two_small_groups_get_fisher_s_exact_test(a: int, b: int, c: int, d: int) -> None:
    hits, trials = np.array([a, b], float), np.array([a + c, b + d], float)
    rate = hits.sum() / trials.sum()
    if 0 < rate < 1 and min(*(trials * rate), *(trials * (1 - rate))) < 1:
        assert rates_p_value(hits, trials) == pytest.approx(stats.fisher_exact([[a, c], [b, d]]).pvalue)


@pytest.mark.parametrize(
    ("groups", "n", "rate"), [(2, 150, 0.3), (2, 150, 0.01), (6, 300, 0.5), (20, 120, 0.05), (20, 120, 0.005)]
)
def test_equal_groups_are_called_unequal_as_rarely_as_the_level_says(groups: int, n: int, rate: float) -> None:
    rng = np.random.default_rng(groups)
    trials = np.full(groups, float(n))
    for level in (0.01, 0.05):
        fired = sum(rates_p_value(rng.binomial(n, rate, groups).astype(float), trials) < level for _ in range(400))
        assert fired <= stats.binom.isf(1e-4, 400, level), level


def test_means_are_told_apart_at_the_level() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(2000, 4, 100))
    p = [means_p_value(of.mean(axis=1), of.var(axis=1, ddof=1) / 100) for of in x]
    assert stats.kstest(p, "uniform").statistic < 0.05


def run(rng: np.random.Generator, biased: bool, monitors: tuple[MonitorSpec, ...], count: int = 4000) -> Pipeline:
    """An hour of traffic. A biased model is unfair to old users of phones only, and makes up for it with old users of desks and
    young ones of phones, so that neither dimension shows it alone."""
    spec = ModelSpec(
        "loan", task="binary", segments=(("age",), ("device",), ("age", "device")), windows=("1h",), grace=0.0,
        baseline=BaselineSpec(first=10**6), monitors=monitors,
    )  # fmt: skip
    pipeline = Pipeline(spec)
    predictions, labels = [], []
    for i in range(count):
        age, device = ("old", "young")[i % 2], ("desk", "phone")[i // 2 % 2]
        lift = (0.15 if (age == "old") == (device == "phone") else -0.15) if biased else 0.0
        score = rng.random()
        predictions.append({
            "request_id": str(i), "ts": 0.9 * i, "model": "loan", "model_version": "loan:1", "score": score,
            "prediction": int(score + lift > 0.5), "segments": {"age": age, "device": device},
        })  # fmt: skip
        labels.append({"request_id": str(i), "ts": 0.9 * i + 1, "label": int(rng.random() < score)})
    for topic, values in ((PREDICTIONS, predictions), (LABELS, labels)):
        pipeline.send(topic, [json.dumps(value).encode() for value in values])
    pipeline.finish()
    return pipeline


MONITORS = tuple(
    MonitorSpec(f"{name} {measure}", f"fairness.{name}.{measure}_gap", "1h", Condition("above", high=0.02), settle=0.0)
    for name in ("age", "device", "age+device")
    for measure in ("selection_rate", "accuracy", "true_positive_rate")
)


def test_unfairness_at_an_intersection_is_found_where_the_spec_lists_it() -> None:
    pipeline = run(np.random.default_rng(3), True, MONITORS)
    fired = {alert["data"]["labels"]["alertname"] for alert in pipeline.of(ALERTS)}
    assert {"age+device selection_rate", "age+device true_positive_rate"} <= fired
    assert not [name for name in fired if name.startswith(("age ", "device "))]
    alert = next(a["data"] for a in pipeline.of(ALERTS) if a["data"]["labels"]["alertname"] == "age+device selection_rate")
    assert alert["p_value"] < 1e-6
    assert re.search(
        "; smallest for (old,desk|young,phone), largest for (old,phone|young,desk)$", alert["annotations"]["description"]
    )
    record = next(r for r in pipeline.records().values() if r["segment"] == {})
    lowest, highest = record["fairness"]["age+device"]["extremes"]["selection_rate"]
    assert {lowest, highest} <= {"old,desk", "young,phone", "old,phone", "young,desk"}
    assert (
        record["fairness"]["age+device"]["disparate_impact_ratio"] < 0.8 < record["fairness"]["age"]["disparate_impact_ratio"]
    )


def test_a_fair_model_with_gaps_by_chance_is_left_alone() -> None:
    pipeline = run(np.random.default_rng(7), False, MONITORS)
    record = next(r for r in pipeline.records().values() if r["segment"] == {})
    assert max(of[f"{m}_gap"] for of in record["fairness"].values() for m in ("accuracy", "selection_rate")) > 0.02
    assert not pipeline.of(ALERTS)


def test_p_values_of_a_fair_model_err_at_the_level() -> None:
    rng = np.random.default_rng(8)
    fired: dict[str, int] = {}
    for _ in range(100):
        rows = [group(rng, 400) for _ in range(3)]
        profiles = {str(v): outcomes(of["predicted"], of["actual"], of["score"]) for v, of in enumerate(rows)}
        for name, value in fairness(profiles, "binary", "1", 100).items():
            if name.endswith("p_value"):
                fired[name] = fired.get(name, 0) + (value < 0.05)
    assert len(fired) == 6
    low, high = stats.binom.ppf(1e-4, 100, 0.05), stats.binom.isf(1e-4, 100, 0.05)
    assert all(low <= count <= high for count in fired.values()), fired


def test_a_monitor_s_min_count_decides_which_values_it_compares() -> None:
    many = MonitorSpec("m", "fairness.age+device.selection_rate_gap", "1h", Condition("above", high=0.02), settle=0.0)
    few = MonitorSpec("f", many.metric, "1h", many.condition, settle=0.0, min_count=1500)
    pipeline = run(np.random.default_rng(3), True, (many, few))
    assert {alert["data"]["labels"]["alertname"] for alert in pipeline.of(ALERTS)} == {"m"}
    assert [r for r in pipeline.of(METRICS) if "fairness" in r]
    small = MonitorSpec("s", many.metric, "1h", many.condition, min_count=50)
    pipeline = run(np.random.default_rng(3), True, (many, small), count=320)
    assert {alert["data"]["labels"]["alertname"] for alert in pipeline.of(ALERTS)} == {"s"}, "80 labels a value"
