"""Monitors with ``confidence``: how often they fire when nothing is wrong, and when something is."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.driver import Pipeline
from support.outcomes import binary
from tidegauge.baseline.baseline import Baseline, schema_of
from tidegauge.baseline.spread import Spread
from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import ALERTS, LABELS, METRICS, PREDICTIONS
from tidegauge.judge.conditions import Candidate, IntervalsAt, KnownIntervals, judge, surely_beyond
from tidegauge.judge.evidence import is_performance
from tidegauge.metrics import interval
from tidegauge.metrics.interval import Interval
from tidegauge.metrics.performance import performance
from tidegauge.metrics.performance_interval import performance_intervals
from tidegauge.models.default_monitors import default_monitors
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec


def accuracy(rng: np.random.Generator, truth: float, n: int, level: float, condition: Condition) -> bool:
    """Whether a monitor fires on a window of ``n`` labels of a model right in a share ``truth`` of cases."""
    hits = int(rng.binomial(n, truth))
    record = {"labels": n, "performance": {"accuracy": hits / n}}
    monitor = MonitorSpec("a", "performance.accuracy", "1h", condition, min_count=1, confidence=level)
    ((_, verdict),) = judge(
        {(): record}, monitor, None, "1h",
        lambda segment, level: KnownIntervals({"performance": {"accuracy": interval.wilson(hits, n, level)}}, {}),
    )  # fmt: skip
    assert verdict.interval is not None
    return verdict.breached


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_false_alarms_are_those_the_level_allows(level: float) -> None:
    """A model that is exactly as good as the limit is wrongly called worse in half of what the interval leaves out."""
    rng = np.random.default_rng(1)
    fired = np.mean([accuracy(rng, 0.9, 1000, level, Condition("below", low=0.9)) for _ in range(3000)])
    expected = (1 - level) / 2
    assert abs(fired - expected) < 4 * math.sqrt(expected / 3000) + 0.005
    found = np.mean([accuracy(rng, 0.85, 1000, level, Condition("below", low=0.9)) for _ in range(300)])
    assert found > 0.95


def candidate(value: float, own: Interval, baseline: float, before: Interval | None) -> Candidate:
    return Candidate((), "performance.f1", value, 100, (), baseline, None, None, own, before)


@given(st.floats(0, 1), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0.01, 1))
def test_a_certain_breach_is_a_breach_and_an_uncertain_baseline_makes_it_rarer(
    value: float, down: float, up: float, limit: float
) -> None:
    own = Interval(value - down, value + up)
    below = Condition("below", low=0.1, relative_to_baseline=True)
    sure = surely_beyond(candidate(value, own, limit, None), below, limit - 0.1, None)
    assert sure == (value + up < limit - 0.1)
    surer = surely_beyond(candidate(value, own, limit, Interval(limit - 0.2, limit + 0.2)), below, limit - 0.1, None)
    assert sure or not surer
    above = Condition("above", high=limit)
    assert surely_beyond(candidate(value, own, 0.0, None), above, None, limit) == (value - down > limit)
    assert not surely_beyond(candidate(value, own, 0.0, None), Condition("outside", -1, 2), -1, 2)


def test_below_baseline_allows_for_the_baseline_s_own_error() -> None:
    """Two equal samples: at 95 %, "below the baseline" is said of 2.5 % of them, not of the 8 % a baseline taken as
    exact would give."""
    rng = np.random.default_rng(2)
    condition = Condition("below", low=0.0, relative_to_baseline=True, percent=True)
    fired = exact = 0
    for _ in range(4000):
        now, before = int(rng.binomial(500, 0.7)), int(rng.binomial(500, 0.7))
        found = candidate(now / 500, interval.wilson(now, 500), before / 500, interval.wilson(before, 500))  # type: ignore[arg-type]
        fired += surely_beyond(found, condition, before / 500, None)
        exact += interval.wilson(now, 500).high < before / 500  # type: ignore[union-attr]
    assert 0.018 < fired / 4000 < 0.033
    assert exact / 4000 > 0.06


def intervals_of(now: OutcomeProfile, before: OutcomeProfile) -> IntervalsAt:
    def intervals(segment: Segment, level: float) -> KnownIntervals:
        own, other = (performance_intervals(of, "binary", "1", level) for of in (now, before))
        return KnownIntervals({"performance": own}, {"performance": other})

    return intervals


def test_default_monitors_are_quiet_on_small_windows_of_a_model_that_has_not_changed() -> None:
    """200 labels against a baseline of 400: limits relative to the baseline alone are passed by chance now and then."""
    rng = np.random.default_rng(3)
    monitors = [m for m in default_monitors(ModelSpec("m", task="binary"), None) if is_performance(m.metric)]
    fired = dict.fromkeys((m.name for m in monitors), 0)
    bare = dict(fired)
    for _ in range(150):
        before, now = binary(rng, 400), binary(rng, 200)
        baseline = Baseline("m", "m:1", DataProfile(), before, schema_of(DataProfile()))
        baseline.metrics = {"performance": performance(before, "binary", "1")}
        record = {"labels": 200, "performance": performance(now, "binary", "1")}
        for monitor in monitors:
            for of, counts in ((monitor, fired), (msgspec.structs.replace(monitor, confidence=None), bare)):
                ((_, verdict),) = judge({(): record}, of, baseline, "1d", intervals_of(now, before))
                counts[of.name] += verdict.breached
    assert set(fired) == {"roc-auc", "brier"}
    assert max(fired.values()) <= 1
    assert sum(bare.values()) >= 5


def test_through_the_pipeline_only_what_is_sure_fires() -> None:
    """Windows of 300 labels about a limit of 0.8: accuracy 0.79 is not surely below, 0.6 is; the alert says how sure."""
    condition = Condition("below", low=0.8)
    spec = ModelSpec(
        "churn", task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(first=10**6),
        monitors=(
            MonitorSpec("plain", "performance.accuracy", "1m", condition, settle=0.0),
            MonitorSpec("sure", "performance.accuracy", "1m", condition, settle=0.0, confidence=0.99),
        ),
    )  # fmt: skip
    pipeline = Pipeline(spec)
    for minute, right in enumerate((0.79, 0.85, 0.6, 0.85)):
        for i in range(300):
            name, ts = f"{minute}-{i}", 60.0 * minute + i / 10
            event = {"request_id": name, "ts": ts, "model_version": "churn:1", "prediction": 1}
            pipeline.send(PREDICTIONS, [json.dumps(event).encode()])
            label = {"request_id": name, "ts": ts + 1, "label": int(i < right * 300)}
            pipeline.send(LABELS, [json.dumps(label).encode()])
        pipeline.checkpoint()
    pipeline.finish()
    fired = [alert["data"] for alert in pipeline.of(ALERTS) if alert["data"]["status"] == "firing"]
    assert [(of["labels"]["alertname"], of["window"]["start"][14:16]) for of in fired] == [
        ("plain", "00"), ("plain", "02"), ("sure", "02"),
    ]  # fmt: skip
    assert fired[2]["condition"] == "below 0.8 with 99 % confidence"
    assert fired[2]["interval"] == pytest.approx(interval.wilson(180, 300, 0.99))
    assert "interval" not in fired[0]
    record = next(r for r in pipeline.of(METRICS) if r["window_start"].endswith("00:02:00Z"))
    assert record["performance_interval"]["accuracy"] == pytest.approx(interval.wilson(180, 300))


def test_a_record_says_while_labels_are_few_or_early() -> None:
    pipeline = Pipeline(ModelSpec("churn", task="binary", windows=("1m",), grace=0.0))
    for i in range(400):
        event = {"request_id": str(i), "ts": i / 10, "model_version": "churn:1", "prediction": 1}
        pipeline.send(PREDICTIONS, [json.dumps(event).encode()])
    pipeline.send(PREDICTIONS, [json.dumps(event | {"request_id": "later", "ts": 120.0}).encode()])
    pipeline.checkpoint()
    for count, note in ((0, "not settled, 0 labels of 400 predictions"), (30, "not settled, 30 labels of 400 predictions")):
        for i in range(count):
            pipeline.send(LABELS, [json.dumps({"request_id": str(i), "ts": 130.0, "label": 1}).encode()])
        pipeline.send(PREDICTIONS, [json.dumps(event | {"request_id": f"n{count}", "ts": 140.0 + count}).encode()])
        pipeline.checkpoint()
        assert pipeline.of(METRICS)[-1]["performance_note"].startswith(note)
    pipeline.finish()
    assert pipeline.of(METRICS)[-1]["settled"]
    last = [r for r in pipeline.of(METRICS) if r["window_start"] == "1970-01-01T00:00:00Z"][-1]
    assert last["performance_note"].startswith("few: 30 labels of 400 predictions")


@pytest.mark.parametrize(("p_value", "breached"), [(0.02, False), (1e-4, True), (None, True)])
def test_a_calibration_error_beyond_its_spread_must_be_more_than_chance(p_value: float | None, breached: bool) -> None:
    """Where its test could not be made, the limit alone decides."""
    baseline = Baseline("m", "m:1", DataProfile(), OutcomeProfile(), schema_of(DataProfile()))
    baseline.spread = {"1h": {"performance.ece": Spread(0.03, 0.01, 30)}}
    record = {"labels": 500, "performance": {"ece": 0.08}, "calibration": {} if p_value is None else {"p_value": p_value}}
    monitor = MonitorSpec("c", "performance.ece", "1h", Condition("above", auto=True), significance=0.00135)
    ((_, verdict),) = judge({(): record}, monitor, baseline, "1h")
    assert verdict.breached == breached
    assert verdict.p_value == p_value
