"""Numbers of few values, and values that hold much of a number: their bins are the values, and all that is said of them is
exact. Each against SciPy on the raw rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from support.driver import Pipeline
from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.binning import bins_of_block, bins_of_values
from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import PREDICTIONS, Record
from tidegauge.join.columns import data_columns
from tidegauge.metrics.record import data_members
from tidegauge.offline.reference import build
from tidegauge.profile.data import DataProfile
from tidegauge.profile.schema import Schema, bin_codes
from tidegauge.spec import BaselineSpec, ModelSpec

SPEC = ModelSpec("m", task="binary")
Numbers = NDArray[np.float64]


def lines(values: dict[str, Numbers], start: float = 0.0) -> list[bytes]:
    rows = len(next(iter(values.values())))
    return [
        json.dumps({"request_id": f"{start}-{i}", "ts": start + i / 100, "model_version": "m:1", "score": 0.5,
                    "features": {name: float(of[i]) for name, of in values.items()}}).encode()
        for i in range(rows)
    ]  # fmt: skip


def profile_of(values: dict[str, Numbers], schema: Schema | None) -> DataProfile:
    decoded = Decoder(Prediction).chunk([Record(i, -1, None, raw) for i, raw in enumerate(lines(values))])[0]
    return data_columns(decoded, SPEC, schema).group(np.arange(len(decoded)), np.array([0]), True)[0]


def compared(baseline: Baseline, values: dict[str, Numbers]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = data_members(profile_of(values, baseline.schema), SPEC, baseline)["data"]["features"]
    return found


def by_value(reference: Numbers, values: Numbers) -> NDArray[np.int64]:
    """Counts by the contract's definition: each of the reference's values, what lies between them, below and above."""
    known = np.unique(reference)
    between = (values > known[0]) & (values < known[-1]) & ~np.isin(values, known)
    beyond = [(values < known[0]).sum(), (values > known[-1]).sum()]
    return np.array([*((values == value).sum() for value in known), between.sum(), *beyond])


def check(found: dict[str, Any], reference: Numbers, values: Numbers) -> None:
    """Every distance and the p-value are those of the raw rows."""
    now, before = by_value(reference, values), by_value(reference, reference)
    q, p = (np.maximum(of / of.sum(), 1e-4) for of in (now, before))
    assert found["psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-9)
    assert found["js"] == pytest.approx(jensenshannon(now / now.sum(), before / before.sum()), abs=1e-7)
    assert found["ks"] == pytest.approx(stats.ks_2samp(values, reference, method="asymp").statistic, abs=1e-9)
    if np.isin(values, reference).all():
        assert found["wasserstein"] == pytest.approx(stats.wasserstein_distance(values, reference), abs=1e-9)
    table = np.array([now, before])[:, now + before > 0]
    if table.shape[1] > 1 and stats.contingency.expected_freq(table).min() >= 5:
        assert found["p_value"] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue, rel=1e-6, abs=1e-300)
    elif table.shape[1] == 1:
        assert "p_value" not in found


KINDS = {
    "flag": (lambda r, n: r.random(n) < 0.3, lambda r, n: r.random(n) < 0.9),
    "rare flag": (lambda r, n: r.random(n) < 0.001, lambda r, n: r.random(n) < 0.02),
    "all but ones": (lambda r, n: r.random(n) < 0.999, lambda r, n: r.random(n) < 0.9),
    "ordinal": (lambda r, n: r.choice(4, n, p=[0.4, 0.3, 0.2, 0.1]), lambda r, n: r.choice(4, n, p=[0.1, 0.2, 0.3, 0.4])),
    "rare counts": (lambda r, n: r.poisson(0.05, n), lambda r, n: r.poisson(0.4, n)),
    "counts": (lambda r, n: r.poisson(3, n), lambda r, n: r.poisson(4, n)),
    "constant": (lambda r, n: np.full(n, 7.0), lambda r, n: np.full(n, 7.0)),
    "constant that changed": (lambda r, n: np.full(n, 7.0), lambda r, n: np.full(n, 7.5)),
    "new between": (lambda r, n: r.choice([0.0, 1.0], n), lambda r, n: r.choice([0.0, 0.5, 1.0], n)),
    "new beyond": (lambda r, n: r.choice([0.0, 1.0], n), lambda r, n: r.choice([-1.0, 0.0, 1.0, 2.0], n)),
    "signs": (lambda r, n: r.choice([-1.0, -0.1, 0.1, 1.0], n), lambda r, n: r.choice([-0.1, 0.1], n)),
    "tenths": (lambda r, n: r.choice(np.arange(11) / 10, n), lambda r, n: r.choice(np.arange(6) / 10, n)),
}  # fmt: skip


@pytest.mark.parametrize("n", [400, 2000])
def test_every_distance_is_that_of_the_raw_rows(tmp_path: Path, n: int) -> None:
    """In reference data, and in a baseline that is learned from the same rows."""
    rng = np.random.default_rng(n)
    reference = {name: np.asarray(kind[0](rng, 3000), float) for name, kind in KINDS.items()}
    windows = [{name: np.asarray(kind[place](rng, n), float) for name, kind in KINDS.items()} for place in (0, 1)]
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines(reference)))
    built = build(SPEC, "m:1", tmp_path / "r.jsonl")
    learned = Baseline.learned("m", "m:1", {(): profile_of(reference, None)})
    for baseline in (built, Baseline.from_json(built.to_json()), Baseline.from_json(learned.to_json())):
        for values in windows:
            found = compared(baseline, values)
            for name in KINDS:
                check(found[name], reference[name], values[name])


def test_where_a_flag_has_moved_it_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines({"flag": (rng.random(4000) < 0.3).astype(float)})))
    baseline = build(SPEC, "m:1", tmp_path / "r.jsonl")
    share = float(baseline.data.features.mean[0])
    found = compared(baseline, {"flag": (np.arange(1000) < 900).astype(float)})["flag"]
    assert found["shift_in"] == "location"
    assert found["shift"] == pytest.approx((0.9 - share) / np.sqrt(share * (1 - share)), rel=1e-6)
    assert found["shift_p_value"] < 1e-100


few = st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.1, 0.30000000000000004, 1.0, 3.0, 50.0]), min_size=60, max_size=300)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(reference=few, values=few, chunks=st.integers(1, 4))
def test_any_two_samples_of_few_values(reference: list[float], values: list[float], chunks: int) -> None:
    """Learned chunk by chunk, compared chunk by chunk."""
    a, b = np.array(reference), np.array(values)
    learned = DataProfile()
    for part in np.array_split(a, chunks):
        learned.merge(DataProfile.unpack(profile_of({"x": part}, None).pack()))
    baseline = Baseline.learned("m", "m:1", {(): learned})
    window = DataProfile()
    for part in np.array_split(b, chunks):
        window.merge(DataProfile.unpack(profile_of({"x": part}, baseline.schema).pack()))
    check(data_members(window, SPEC, baseline)["data"]["features"]["x"], a, b)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9) | st.integers(0, 3).map(float), min_size=1, max_size=300))
def test_every_value_lies_in_exactly_one_bin(values: list[float]) -> None:
    """Of any reference: every value lies in one bin and none of them outside, and one that has its own shares it with none."""
    x = np.array(values)
    bins = bins_of_values(x)
    codes = bin_codes(x, bins.edges)
    assert ((codes >= 2) & (codes < bins.size - 1)).all()
    for value in bins.values:
        assert np.unique(x[codes == codes[x == value][0]]).tolist() == [value]
    for coarse in (bins.deciles, bins.tails):
        assert (np.diff(coarse[~bins.own | (bins.rest is not None)][1:]) >= 0).all() or bins.rest is None


def zero_inflated(rng: np.random.Generator, n: int, zeros: float, scale: float = 1.0) -> Numbers:
    return np.where(rng.random(n) < zeros, 0.0, scale * rng.lognormal(3.0, 1.0, n))


@pytest.mark.parametrize("zeros", [0.06, 0.3, 0.6, 0.97])
def test_a_tie_hides_no_move_across_it(tmp_path: Path, zeros: float) -> None:
    """Amounts with many zeros: the zeros have their bin, the others ten of their own."""
    rng = np.random.default_rng(2)
    reference = zero_inflated(rng, 20_000, zeros)
    rest = reference[reference != 0]
    edges = np.quantile(rest, np.arange(11) / 10)
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines({"amount": reference})))
    built = build(SPEC, "m:1", tmp_path / "r.jsonl")
    for values in (zero_inflated(rng, 4000, zeros), zero_inflated(rng, 4000, 1 - zeros), zero_inflated(rng, 4000, zeros, 3.0)):
        counts = []
        for of in (values, reference):
            others = of[of != 0]
            between = ((others > 0) & (others < edges[0])).sum()
            counts.append(np.array([(of == 0).sum(), between, *np.histogram(others, edges)[0], (others > edges[-1]).sum()]))
        q, p = (np.maximum(of / of.sum(), 1e-4) for of in counts)
        found = compared(built, {"amount": values})["amount"]
        assert found["psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-9)
    fewer = zero_inflated(rng, 4000, zeros)
    moved = np.where((fewer == 0) & (rng.random(4000) < 0.5), 1e-9, fewer)
    found = compared(built, {"amount": moved})["amount"]
    assert found["psi"] > zeros / 4, "half of the zeros are just above nought now"
    assert found["p_value"] < 1e-9


def test_learned_bins_of_ties_are_those_of_the_values() -> None:
    rng = np.random.default_rng(3)
    for values in (zero_inflated(rng, 5000, 0.6), np.where(rng.random(5000) < 0.2, 9.0, rng.normal(5.0, 4.0, 5000))):
        exact = bins_of_values(values)
        profile = profile_of({"x": values}, None)
        learned = bins_of_block(profile.features, 0)
        assert learned.values.tolist() == exact.values.tolist()
        assert learned.rest is not None
        assert exact.rest is not None
        ranks = np.searchsorted(np.sort(values[values != exact.values[0]]), learned.rest) / (values != exact.values[0]).sum()
        assert ranks == pytest.approx(np.searchsorted(np.sort(values[values != exact.values[0]]), exact.rest)
                                      / (values != exact.values[0]).sum(), abs=0.02)  # fmt: skip


@pytest.mark.parametrize("name", ["flag", "ordinal", "rare counts", "constant that changed"])
def test_default_monitors_fire_on_it(name: str) -> None:
    before, after = KINDS[name]
    rng = np.random.default_rng(4)
    spec = ModelSpec("m", task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(first=3000))
    pipeline = Pipeline(spec)
    for minute in range(6):
        kind = after if minute >= 4 else before
        pipeline.send(PREDICTIONS, lines({"x": np.asarray(kind(rng, 3000), float), "y": rng.normal(size=3000)}, 60.0 * minute))
        pipeline.checkpoint()
    pipeline.finish()
    fired = [(d["labels"]["alertname"], d["labels"].get("feature"), d["window"]["start"][14:16])
             for d in (alert["data"] for alert in pipeline.of("alerts")) if d["status"] == "firing"]  # fmt: skip
    assert fired == [("feature-drift", "x", "04")]
