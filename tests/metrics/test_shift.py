"""The directed comparisons: each against SciPy, and the level and power of all of them together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import hypergeom, norm, pearson3

from tidegauge.baseline.contrasts import COMPONENTS, Contrasts
from tidegauge.metrics.distance import chi_square_p
from tidegauge.metrics.shift import WEIGHTS, combined, count_score, missing_shift, normal_score, number_shift
from tidegauge.profile.schema import MISSING, SHARES, Bins, bin_codes


def counts(values: NDArray[np.float64], bins: Bins) -> NDArray[np.int64]:
    return np.bincount(bin_codes(values, bins.edges), minlength=bins.size)


def compared(reference: NDArray[np.float64]) -> tuple[Bins, Contrasts]:
    bins = Bins(np.quantile(reference, SHARES))
    return bins, Contrasts(counts(reference, bins), bins)


@pytest.mark.parametrize("skewness", [-0.8, -0.1, 0.2, 1.0])
@pytest.mark.parametrize("z", [-3.0, -1.0, 0.5, 4.0])
def test_a_skewed_score_is_the_normal_quantile_of_pearson_s_third_distribution(z: float, skewness: float) -> None:
    below, above = pearson3.cdf(z, skewness), pearson3.sf(z, skewness)
    if min(below, above) > 1e-12:
        expected = norm.ppf(below) if below < 0.5 else -norm.ppf(above)
        assert normal_score(z, skewness) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("count", "before"), [(0, 100), (2, 150), (15, 150), (9, 0), (40, 600)])
def test_a_count_has_the_mid_p_of_fisher_s_exact_test(count: int, before: int) -> None:
    n, total = 500, 15_000
    exact = hypergeom(n + total, count + before, n)
    above = (exact.sf(count - 1) + exact.sf(count)) / 2
    assert count_score(count, n, before, total) == pytest.approx(-norm.ppf(above), rel=0.03, abs=0.03)


@given(st.lists(st.integers(0, 300), min_size=3, max_size=30), st.integers(0, 2**32 - 1))
def test_scores_are_uncorrelated_over_any_reference(sizes: list[int], seed: int) -> None:
    """Ties, few values and single ones: each component has mean 0 and variance 1, or there is nothing of it."""
    values = np.repeat(np.random.default_rng(seed).normal(size=len(sizes)), sizes)
    if not len(values):
        return
    bins, contrasts = compared(values)
    assert counts(values, bins).sum() == contrasts.total
    gram = (contrasts.scores * contrasts.shares) @ contrasts.scores.T
    live = np.diag(gram) > 0.5
    assert gram == pytest.approx(np.diag(live.astype(float)), abs=1e-6)
    assert contrasts.scores @ contrasts.shares == pytest.approx(0, abs=1e-6)
    same = number_shift(counts(values, bins), contrasts, "x", None, 1)
    assert same["shift"] == pytest.approx(0, abs=1e-6)


def test_each_direction_is_named_for_what_it_is() -> None:
    rng = np.random.default_rng(1)
    z = rng.normal(size=20_000)
    bins, contrasts = compared(z)
    top = norm.ppf(0.95)
    cases = {
        "location": z + 0.5,
        "scale": z * 1.5,
        "skewness": np.where(z > 0, z * 0.6, z * 1.2) - 0.1,
        "upper_tail": np.where(z > top, z + 1, z),
        "lower_tail": np.where(z < -top, z - 1, z),
    }
    for name, moved in cases.items():
        found = number_shift(counts(moved, bins), contrasts, "x", None, len(moved))
        if name != "skewness":
            assert found["shift_in"] == name
        assert abs(found["shift_z"][name]) > 10, name
        assert found["shift_p_value"] < 1e-12
    assert number_shift(counts(z + 0.1, bins), contrasts, "x", None, len(z))["shift"] == pytest.approx(0.1, abs=0.01)


def test_a_constant_that_changes_is_seen() -> None:
    bins, contrasts = compared(np.full(5000, 7.0))
    found = number_shift(counts(np.full(300, 8.0), bins), contrasts, "x", None, 300)
    assert found["shift_in"] == "upper_tail"
    assert found["shift_p_value"] < 1e-12
    assert number_shift(counts(np.full(300, 7.0), bins), contrasts, "x", None, 300)["shift_p_value"] == pytest.approx(1)


def p_values(rng: np.random.Generator, n: int, windows: int, change: str = "", references: int = 12) -> NDArray[np.float64]:
    """Of numbers that differ from their references of 15,000 by nothing but ``change``: (references × windows)."""
    out = []
    for _ in range(references):
        bins, contrasts = compared(rng.normal(size=15_000))
        for _ in range(windows):
            z = rng.normal(size=n)
            if change == "mean":
                z += 0.3
            elif change == "variance":
                z *= 1.15
            elif change == "tail":
                z[z > norm.ppf(0.95)] += 1.0
            out.append(number_shift(counts(z, bins), contrasts, "x", None, n)["shift_p_value"])
    return np.array(out)


@pytest.mark.parametrize("n", [50, 500, 5000])
def test_the_p_value_holds_its_level_at_every_size(n: int) -> None:
    found = p_values(np.random.default_rng(2), n, 20, references=300)
    for level, most in ((0.01, 1.3), (0.001, 2.0)):
        assert (found < level).mean() <= level * most, level


@pytest.mark.parametrize(("change", "power"), [("mean", 0.98), ("variance", 0.65), ("tail", 0.95)])
def test_small_changes_of_five_hundred_values_are_found(change: str, power: float) -> None:
    """At a level of one in 2,000, what ten features leave each other; ten bins find far fewer."""
    found = p_values(np.random.default_rng(3), 500, 60, change)
    assert (found < 0.0005).mean() >= power


def test_a_small_change_of_the_mean_is_found_more_often_than_by_ten_bins() -> None:
    rng = np.random.default_rng(3)
    reference = rng.normal(size=15_000)
    bins, contrasts = compared(reference)
    before = np.bincount(bins.deciles, counts(reference, bins)).astype(np.int64)
    directed, blunt = [], []
    for _ in range(300):
        now = counts(rng.normal(size=500) + 0.2, bins)
        directed.append(number_shift(now, contrasts, "x", None, 500)["shift_p_value"])
        blunt.append(chi_square_p(np.bincount(bins.deciles, now).astype(np.int64), before))
    assert np.mean(np.array(directed) < 0.0005) > np.mean(np.array(blunt, float) < 0.0005) + 0.15


def rises(rng: np.random.Generator, share: float, windows: int) -> NDArray[np.float64]:
    found = [missing_shift(int(k), 500, 150, 15_000, "x", None, 500) for k in rng.binomial(500, share, windows)]
    return np.array([of["missing_p_value"] for of in found])


def test_a_rise_of_missing_values_is_a_test_of_its_own() -> None:
    rng = np.random.default_rng(4)
    assert (rises(rng, 0.01, 6000) < 0.01).mean() <= 0.014
    assert (rises(rng, 0.03, 2000) < 0.01 / 6).mean() > 0.6
    assert missing_shift(0, 500, 150, 15_000, "x", None, 500)["missing_p_value"] > 0.9, "a fall is none"
    assert missing_shift(0, 500, 0, 15_000, "x", None, 500) == {"missing_shift": 0.0}
    assert missing_shift(5, 500, 0, 15_000, "x", None, 500)["missing_p_value"] < 1e-6


@given(st.lists(st.floats(1e-6, 1.0), min_size=6, max_size=6))
def test_the_harmonic_mean_lies_between_its_p_values_and_bonferroni_s(values: list[float]) -> None:
    p = dict(zip(WEIGHTS, values, strict=True))
    least = min(values)
    assert least * (1 - 1e-9) <= combined(p) <= min(p[name] / weight for name, weight in WEIGHTS.items()) * (1 + 1e-9)
    assert math.isclose(sum(WEIGHTS.values()), 1.0)
    assert set(COMPONENTS) < set(WEIGHTS)


def test_missing_values_are_no_values() -> None:
    values = np.random.default_rng(5).normal(size=5000)
    bins, contrasts = compared(values)
    now = counts(values[:400], bins)
    gone = now.copy()
    gone[MISSING] = 300
    assert number_shift(now, contrasts, "x", None, 400) == number_shift(gone, contrasts, "x", None, 400)
