"""Which range of a feature that no spec declares carries a drop: the right one is named where there is one, and none where
there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import tidegauge as tg
from support.schemas import mistakes
from tidegauge.baseline.searched_ranges import SearchedFeature, SearchedRanges
from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import ALERTS, INCIDENTS
from tidegauge.incident.sentences import line
from tidegauge.metrics.carriers import LEVEL, Carrier, carriers, squared_error
from tidegauge.metrics.range_search import RangeLosses
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.range_losses import RangeCodes

EDGES = np.array([-1.3, -0.8, -0.5, -0.25, 0.0, 0.25, 0.5, 0.8, 1.3])
NUMBERS, CATEGORY = 8, ("a", "b", "c", "d")
RANGES = SearchedRanges(
    "r", 1.0, (*(SearchedFeature(f"x{i}", EDGES) for i in range(NUMBERS)), SearchedFeature("plan", None, CATEGORY))
)


def drawn(rng: np.random.Generator, n: int, wrong: Any = lambda x, plan: np.zeros(len(plan), bool)) -> OutcomeProfile:
    """Outcomes of a model that knows how likely they are, but for those that are ``wrong``: their labels are turned around with
    a chance of one half. A tenth of each number is missing."""
    x = rng.normal(size=(NUMBERS, n))
    x[rng.random(x.shape) < 0.1] = np.nan
    plan, score = rng.integers(0, len(CATEGORY), n), rng.beta(2, 3, n)
    actual = (rng.random(n) < score).astype(int)
    actual = np.where(wrong(x, plan) & (rng.random(n) < 0.5), 1 - actual, actual)
    codes = np.where(np.isnan(x), 0, np.searchsorted(EDGES, x, side="right") + 1)
    columns = OutcomeColumns(
        np.ones(n, np.int64), np.ones(n, bool), [None] * n, [None] * n, None, score, actual, None, {}, np.full(n, 60.0),
        codes=RangeCodes("r", 1.0, np.arange(n), np.concatenate((codes, plan[None] + 1)).T.astype(np.uint8)),
    )  # fmt: skip
    return OutcomeGroups(columns).group(np.arange(n), np.array([0]), True)[0]


BEFORE = drawn(np.random.default_rng(0), 40_000)


def found(now: OutcomeProfile, segments: dict[Segment, OutcomeProfile] | None = None) -> list[Carrier]:
    losses = RangeLosses(RANGES, now.ranges["r"], BEFORE.ranges["r"])
    return carriers({(): now, **(segments or {})}, {(): BEFORE, **(segments or {})}.get, squared_error, losses)


@pytest.mark.parametrize(
    ("wrong", "feature", "names"),
    [
        (lambda x, plan: x[3] >= 0.8, "x3", {"0.8 or more"}),
        (lambda x, plan: x[5] < -0.5, "x5", {"below -0.5"}),
        (lambda x, plan: (x[0] >= 0.0) & (x[0] < 0.8), "x0", {"0 to 0.8"}),
        (lambda x, plan: np.isnan(x[2]), "x2", {"missing"}),
        (lambda x, plan: plan == 2, "plan", {"c"}),
        (lambda x, plan: plan % 2 == 1, "plan", {"b, d"}),
    ],
)
def test_the_range_that_carries_it_is_named_first(wrong: Any, feature: str, names: set[str]) -> None:
    rng = np.random.default_rng(1)
    right, shares = 0, []
    for _ in range(20):
        first = found(drawn(rng, 4000, wrong))[0]
        assert first.feature == feature
        right += first.segment[feature] in names
        shares.append(first.share)
    # Where the loss of a neighbouring range is high by chance the stretch is longer or shorter by that range.
    assert right >= 12
    assert np.mean(shares) > 0.75


@pytest.mark.parametrize("everywhere", [0.0, 0.3])
def test_nothing_is_named_beyond_the_level_where_no_range_carries_it(everywhere: float) -> None:
    """Labels are turned around at the same rate everywhere, or nowhere."""
    rng = np.random.default_rng(2)
    wrong = [bool(found(drawn(rng, 2000, lambda x, plan: rng.random(len(plan)) < everywhere))) for _ in range(200)]
    assert np.mean(wrong) <= LEVEL + 3 * np.sqrt(LEVEL * (1 - LEVEL) / len(wrong))


def test_of_what_is_named_beside_the_true_range_few_are_false() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(100):
        named = [of.feature for of in found(drawn(rng, 4000, lambda x, plan: x[3] >= 0.8))]
        shares.append(sum(name != "x3" for name in named) / max(len(named), 1))
    assert np.mean(shares) <= 2 * LEVEL


def test_a_feature_that_makes_segments_is_tested_as_these_only() -> None:
    rng = np.random.default_rng(4)
    now = drawn(rng, 4000, lambda x, plan: x[3] >= 0.8)
    segments = {(("x3", "any"),): drawn(rng, 50)}
    assert "x3" not in [of.feature for of in found(now, segments)]


def test_a_range_of_nearly_everyone_is_not_named() -> None:
    """Only the lowest tenth is as good as before."""
    for seed in range(10):
        named = found(drawn(np.random.default_rng(seed), 4000, lambda x, plan: ~(x[3] < -0.8)))
        assert named[0].labels <= 0.75 * 4000


def test_ranges_with_few_labels_are_not_tested() -> None:
    few = drawn(np.random.default_rng(5), 50, lambda x, plan: x[3] >= 0.8)
    assert found(few) == []
    # Nobody says then that they were looked at.
    assert RangeLosses(RANGES, few.ranges["r"], BEFORE.ranges["r"]).testable(30) == 0
    assert RangeLosses(RANGES, BEFORE.ranges["r"], BEFORE.ranges["r"]).testable(30) == len(RANGES.features)


SPEC = """
model: churn
task: {TASK}
windows: [1d]
grace: 0s
label_horizon: 1d
monitors:
  - {name: worse, metric: {METRIC}, window: 1d, {CONDITION}, min_count: 50}
"""


def run(task: str, metric: str, condition: str, prediction: Any, label: Any, **columns: Any) -> dict[str, Any]:
    """The alert of a stream whose first 4,000 of 6,000 rows are the reference; a day has 2,000."""
    n, rng = 6000, np.random.default_rng(7)
    ts = 1_758_931_200.0 + np.arange(n) * 86400.0 / 2000
    predictions = pd.DataFrame(
        {"request_id": [f"r{i}" for i in range(n)], "ts": ts, "model_version": "churn:1", "prediction": prediction, **columns}
    )
    predictions["idle"] = rng.normal(size=n)
    labels = pd.DataFrame({"request_id": predictions["request_id"], "ts": ts + 600.0, "label": label})
    spec = SPEC.replace("{TASK}", task).replace("{METRIC}", metric).replace("{CONDITION}", condition)
    baseline = tg.build_baseline(predictions[:4000].assign(label=labels["label"][:4000]), spec)
    made = tg.replay(predictions, labels, spec=spec, baseline=baseline)
    (data,) = (event["data"] for event in made._decoded(ALERTS))
    # The incident says the same of what comes first.
    (incident,) = made._decoded(INCIDENTS)
    carried, first = incident["data"]["carried_by"], data["evidence"]["carriers"][0]
    assert (carried["fingerprint"], carried["segment"], carried["share"]) == (
        data["fingerprint"], first["segment"], first["share"],
    )  # fmt: skip
    assert made.incidents["carried_by"].tolist() == [carried["text"]]
    assert line(incident).count(carried["text"]) == 1
    (alert,) = made._decoded(ALERTS)
    assert mistakes("alert", alert) + mistakes("incident", incident) == []
    return dict(data)


def test_an_alert_names_the_range_of_a_binary_model_with_the_figures_of_pandas() -> None:
    n, rng = 6000, np.random.default_rng(6)
    score, wind = rng.beta(2, 3, n), rng.gamma(3.0, 4.0, n).round(2)
    label = (rng.random(n) < score).astype(int)
    late = np.arange(n) >= 4000
    label = np.where(late & (wind >= 18), 1 - label, label)
    data = run(
        "binary", "performance.brier", "above_baseline: 0.02", (score > 0.5).astype(int), label, score=score, wind_speed=wind
    )  # fmt: skip
    first = data["evidence"]["carriers"][0]
    assert first["feature"] == "wind_speed"
    assert 15 <= first["low"] <= 20
    assert "high" not in first
    assert first["share"] > 0.8
    assert f"; `wind_speed` of {first['segment']['wind_speed']} carries" in data["annotations"]["description"]
    loss, inside = (score - label) ** 2, wind >= first["low"]
    means = pd.Series(loss).groupby([inside, late]).mean()
    assert first["excess"] == pytest.approx(means[True, True] - means[True, False], abs=1e-4)
    assert first["elsewhere"] == pytest.approx(means[False, True] - means[False, False], abs=1e-4)
    assert first["labels"] == int((inside & late).sum())
    rise = loss[late].sum() - late.sum() * loss[~late].mean()
    assert first["share"] == pytest.approx(first["labels"] * (first["excess"] - first["elsewhere"]) / rise, abs=1e-3)


def test_an_alert_names_the_values_of_a_multiclass_model() -> None:
    n, rng = 6000, np.random.default_rng(8)
    actual, carrier = rng.choice(list("xyz"), n), rng.choice(["AA", "B6", "DL"], n)
    right = rng.random(n) < np.where((np.arange(n) >= 4000) & (carrier == "B6"), 0.4, 0.9)
    said = np.where(right, actual, np.where(actual == "x", "y", "x"))
    data = run("multiclass", "performance.accuracy", "below_baseline: 0.02", said, actual, carrier=carrier)
    first = data["evidence"]["carriers"][0]
    assert (first["feature"], first["segment"]) == ("carrier", {"carrier": "B6"})
    assert "; `carrier` of B6 carries" in data["annotations"]["description"]


def test_an_alert_names_the_range_of_a_regression_in_its_own_units() -> None:
    n, rng = 6000, np.random.default_rng(9)
    truth, size = 500 + 100 * rng.normal(size=n), rng.uniform(20, 200, n)
    noise = 10 * rng.normal(size=n)
    noise[(np.arange(n) >= 4000) & (size < 60)] += 40
    data = run("regression", "performance.mae", "above_baseline: 20%", truth + noise, truth, size=size)
    first = data["evidence"]["carriers"][0]
    assert first["feature"] == "size"
    assert 50 <= first["high"] <= 75
    # The mean of the absolute error was 8 and is about 40 there.
    assert 25 < first["excess"] < 35
    assert abs(first["elsewhere"]) < 2


def test_a_window_is_compared_with_an_earlier_one_by_the_same_ranges() -> None:
    """Where windows are compared with earlier ones a sample of requests is searched, from when bins are known."""
    a_day, n, rng = 6000, 24_000, np.random.default_rng(10)
    score, wind = rng.beta(2, 3, n), rng.gamma(3.0, 4.0, n)
    label = (rng.random(n) < score).astype(int)
    label = np.where((np.arange(n) >= 3 * a_day) & (wind >= 15), 1 - label, label)
    ts = 1_758_931_200.0 + np.arange(n) * 86400.0 / a_day
    predictions = pd.DataFrame(
        {"request_id": [f"r{i}" for i in range(n)], "ts": ts, "model_version": "churn:1",
         "prediction": (score > 0.5).astype(int), "score": score, "wind_speed": wind, "plan": rng.choice(list("abc"), n)}
    )  # fmt: skip
    labels = pd.DataFrame({"request_id": predictions["request_id"], "ts": ts + 600.0, "label": label})
    spec = SPEC.replace("{TASK}", "binary").replace("{METRIC}", "performance.brier").replace("{CONDITION}", "above: 0.24")
    made = tg.replay(predictions, labels, spec=spec + "baseline: {previous: 1d}\n")
    (data,) = (event["data"] for event in made._decoded(ALERTS))
    first = data["evidence"]["carriers"][0]
    assert first["feature"] == "wind_speed"
    assert 13 <= first["low"] <= 17
    # One request in eight.
    assert first["labels"] == pytest.approx((wind[3 * a_day :] >= first["low"]).sum() / 8, rel=0.3)
