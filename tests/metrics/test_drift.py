"""Drift: bins, tails, p-values, families of tests, and what windows are compared with."""

from __future__ import annotations

import json

import numpy as np
import pytest
from datasketches import kll_doubles_sketch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from support.driver import Pipeline
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.judge.conditions import holm, judge
from tidegauge.metrics import distance
from tidegauge.metrics.prediction_limits import spread_p_value
from tidegauge.profile.schema import BELOW, SHARES, Bins, bin_codes
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

numbers = st.lists(st.floats(-1e6, 1e6) | st.integers(0, 3).map(float), min_size=15, max_size=200)


@settings(max_examples=60, deadline=None)
@given(numbers, numbers)
def test_fine_bins_add_up_to_deciles(reference: list[float], values: list[float]) -> None:
    """Fine bins gathered are the counts of numpy's histogram between the deciles."""
    bins = Bins(np.quantile(reference, SHARES))
    codes = bin_codes(np.array(values), bins.edges)
    counts = np.bincount(bins.deciles, np.bincount(codes, minlength=bins.size), 13)
    edges = np.unique(np.quantile(reference, [0.0, *SHARES[3:-3], 1.0]))
    if len(edges) > 1:
        inside = np.histogram(values, edges)[0]
        assert counts[counts > 0].sum() == len(values)
        assert sorted(counts[2:-1][counts[2:-1] > 0]) == sorted(inside[inside > 0])
    assert counts[1] == np.sum(np.array(values) < edges[0])
    assert counts[12] == np.sum(np.array(values) > edges[-1])


def test_tails_see_what_deciles_do_not() -> None:
    rng = np.random.default_rng(1)
    reference = rng.normal(size=20_000)
    bins = Bins(np.quantile(reference, SHARES))
    moved = rng.normal(size=20_000)
    top = moved >= np.quantile(reference, 0.9)
    moved[top] = np.maximum(moved[top], np.quantile(reference, 0.97))  # Only inside the top decile.
    before, after = (np.bincount(bin_codes(x, bins.edges), minlength=bins.size) for x in (reference, moved))
    p = [distance.chi_square_p(*(np.bincount(of, c).astype(int) for c in (after, before))) for of in (bins.deciles, bins.tails)]
    assert p[0] is not None
    assert p[1] is not None
    assert p[0] > 0.01
    assert p[1] < 1e-9
    assert after[bins.upper].sum() == np.sum(moved >= bins.quantiles[-2])
    assert after[bins.lower].sum() == np.sum(moved < bins.quantiles[1])
    assert {BELOW, bins.size - 1} <= {*np.flatnonzero(bins.lower), *np.flatnonzero(bins.upper)}


def sketch(values: np.ndarray) -> kll_doubles_sketch:  # type: ignore[type-arg]
    made = kll_doubles_sketch(200)
    made.update(values)
    return made


def test_ks_p_value_is_that_of_scipy_while_sketches_are_exact() -> None:
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.1, 0.3):
        a, b = rng.normal(size=180), rng.normal(shift, size=190)
        expected = stats.ks_2samp(a, b)
        found = distance.ks_p_value(float(expected.statistic), 180, 190, 0.0)
        assert found == pytest.approx(expected.pvalue, abs=0.02)


def test_ks_p_value_is_never_smaller_for_the_sketches_error() -> None:
    rng = np.random.default_rng(3)
    low = 0
    for _ in range(100):
        a, b = sketch(rng.normal(size=50_000)), sketch(rng.normal(size=50_000))
        error = distance.rank_error(a) + distance.rank_error(b)
        low += distance.ks_p_value(distance.sketch_distances(a, b)[0], a.n, b.n, error) < 0.05
    assert low <= 5


def test_chi_square_p_values_are_uniform_without_drift() -> None:
    rng = np.random.default_rng(4)
    p = []
    for _ in range(400):
        reference = rng.normal(size=3000)
        bins = Bins(np.quantile(reference, SHARES))
        counts = [np.bincount(bins.deciles, np.bincount(bin_codes(x, bins.edges), minlength=bins.size)).astype(int)
                  for x in (rng.normal(size=500), reference)]  # fmt: skip
        p.append(distance.chi_square_p(*counts))
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_spread_p_value_is_that_of_a_scaled_chi_square() -> None:
    rng = np.random.default_rng(5)
    values = 0.02 * rng.chisquare(6, size=200)
    spread = (float(values.mean()), float(values.std(ddof=1)), 200)
    for x in (0.05, 0.2, 0.4):
        assert spread_p_value(x, spread) == pytest.approx(stats.chi2.sf(x / 0.02, 6), abs=0.02)


def test_a_window_s_segments_and_features_are_one_family() -> None:
    monitor = MonitorSpec("drift", "data.features.*.psi", "1m", Condition("above", high=0.1), segments=True, min_count=1)
    p_values = [0.004, 0.2, 0.3]

    def record(p: float) -> dict[str, object]:
        return {"data": {"features": {"x": {"count": 500, "psi": 0.5, "p_value": p}}}}

    alone = judge({(): record(p_values[0])}, monitor, None, "1m")
    assert [v.breached for _, v in alone] == [True]
    records = {(): record(p_values[0]), (("r", "a"),): record(p_values[1]), (("r", "b"),): record(p_values[2])}
    together = judge(records, monitor, None, "1m")
    assert [v.breached for _, v in together] == holm(p_values, 0.01) == [False, False, False]


def events(rng: np.random.Generator, start: float, count: int, shift: float = 0.0) -> list[bytes]:
    return [
        json.dumps({"request_id": f"{start}-{i}", "ts": start + 60 * i / count, "model_version": "churn:1", "score": 0.5,
                    "features": {"x": shift + value, "plan": "ab"[i % 2]}, "segments": {"region": "en"[i % 2]}}).encode()
        for i, value in enumerate(rng.normal(size=count))
    ]  # fmt: skip


def records(pipeline: Pipeline) -> dict[tuple[str, str], dict[str, object]]:
    return {(r["window_start"][11:16], r["segment"].get("region", "")): r for r in pipeline.records().values()}


def test_previous_compares_with_the_window_a_period_before_and_is_silent_at_first() -> None:
    spec = ModelSpec("churn", task="binary", segments=(("region",),), windows=("1m",), grace=0.0,
                     baseline=BaselineSpec(previous=120.0))  # fmt: skip
    pipeline = Pipeline(spec)
    rng = np.random.default_rng(6)
    for minute in range(16):
        # Every other minute is another world: the same minute of the period before is alike, the one before is not.
        pipeline.send(PREDICTIONS, events(rng, 60.0 * minute, 1000, 3.0 * (minute % 2)))
        pipeline.checkpoint()
    pipeline.finish()
    found = records(pipeline)
    for minute in range(16):
        for region in ("", "e", "n"):
            record = found[f"00:{minute:02}", region]
            numbers = record["data"]["features"]["x"]  # type: ignore[index]
            if minute < 2:
                assert record["compared_with"]["source"] == "none"  # type: ignore[index]
                assert "2m earlier" in record["compared_with"]["reason"]  # type: ignore[index]
                assert "psi" not in numbers
            else:
                assert record["compared_with"] == {"source": "previous", "window_start": f"1970-01-01T00:{minute - 2:02}:00Z"}
                assert numbers["psi"] < 0.2
                assert numbers["p_value"] > 1e-4
                assert ("bins" in numbers) == (minute < 7), "bins are exact once their edges were learned"


def test_segments_are_compared_with_their_own_past() -> None:
    spec = ModelSpec("churn", task="binary", segments=(("region",),), windows=("1m",), grace=0.0,
                     baseline=BaselineSpec(first=2000))  # fmt: skip
    pipeline = Pipeline(spec)
    rng = np.random.default_rng(7)
    for minute in range(4):
        plain = [json.loads(raw) for raw in events(rng, 60.0 * minute, 2000)]
        for event in plain:
            event["features"]["x"] += 10.0 * (event["segments"]["region"] == "e")
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in plain])
        pipeline.checkpoint()
    pipeline.finish()
    found = records(pipeline)
    for region in ("", "e", "n"):
        record = found["00:03", region]
        assert record["compared_with"] == {"source": "learned"}
        assert record["data"]["features"]["x"]["psi"] < 0.05  # type: ignore[index]
