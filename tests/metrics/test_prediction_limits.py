"""Limits and p-values from a baseline's own windows: they hold the level they name, whatever the windows are made of."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm

from tidegauge.baseline.scored import RATIO
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.distance import psi
from tidegauge.metrics.prediction_limits import out_of_sample, reach, spread_p_value


@pytest.mark.parametrize("windows", [8, 20, 100])
def test_a_new_window_is_as_rarely_out_of_reach_as_three_standard_deviations_say(windows: int) -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=(400_000 // windows, windows))
    new = rng.normal(size=(len(before), 50))
    limit = before.mean(axis=1) + reach(windows) * before.std(axis=1, ddof=1)
    assert (new > limit[:, None]).mean() == pytest.approx(norm.sf(3), rel=0.15)


def windows_of(rng: np.random.Generator, phi: float, windows: int, rows: int) -> NDArray[np.float64]:
    noise = rng.normal(size=windows * rows)
    noise[1:] *= np.sqrt(1 - phi**2)
    return lfilter([1.0], [1.0, -phi], noise).reshape(windows, rows)


def psis(rng: np.random.Generator, phi: float, reference: int, new: int, rows: int) -> NDArray[np.float64]:
    """PSI of each reference window and each new one (reference + new) from the reference as a whole, in deciles."""
    values = windows_of(rng, phi, reference + new, rows)
    edges = np.quantile(values[:reference], np.arange(1, 10) / 10)
    codes = np.searchsorted(edges, values, side="right")
    counts = np.stack([np.bincount(window, minlength=10) for window in codes])
    whole = counts[:reference].sum(axis=0)
    return np.array([psi(window, whole) for window in counts])


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_a_reference_window_is_told_as_far_away_as_a_new_one(phi: float) -> None:
    """Windows that follow each other do not know each other, but rows of one do: that does not change the correction."""
    rng = np.random.default_rng(2)
    found = np.array([psis(rng, phi, 8, 8, 400) for _ in range(150)])
    told = np.array([out_of_sample("psi", value, 400, 3200) for value in found[:, :8].ravel()])
    assert told.mean() == pytest.approx(found[:, 8:].mean(), rel=0.06)
    assert found[:, :8].mean() < 0.85 * found[:, 8:].mean()


@pytest.mark.parametrize(("phi", "reference"), [(0.0, 20), (0.9, 20), (0.9, 60)])
def test_the_p_value_of_a_distance_holds_its_level_on_clustered_windows(phi: float, reference: int) -> None:
    rng = np.random.default_rng(3)
    p_values: list[float] = []
    for _ in range(80):
        found = psis(rng, phi, reference, 40, 500)
        before = np.array([out_of_sample("psi", value, 500, 500 * reference) for value in found[:reference]])
        spread = (float(before.mean()), float(before.std(ddof=1)), reference)
        p_values += [spread_p_value(value, spread) for value in found[reference:].tolist()]
    assert np.mean(np.array(p_values) < 0.01) < 0.016
    assert np.mean(np.array(p_values) < 0.001) < 0.004


@pytest.mark.parametrize(("apart", "found"), [(0.0, 0.9), (0.1, 0.3)])
def test_two_classes_are_judged_from_eight_windows(apart: float, found: float) -> None:
    """The share of ones differs between days by chance, or by a tenth besides: both levels hold, and 30 to 50 % is seen."""
    rng = np.random.default_rng(11)
    rows, windows = 750, 8
    whole = rows * windows

    def share(p: float) -> float:
        odds = p / (1 - p) * np.exp(rng.normal(0, apart))
        return float(odds / (1 + odds))

    def ratio(ones: int, before: int, total: int) -> float:
        table = np.array([[ones, rows - ones], [before, total - before]], np.float64)
        expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
        return float(((table - expected) ** 2 / expected).sum())

    same, other = [], []
    for _ in range(2000):
        ones = np.array([rng.binomial(rows, share(0.3)) for _ in range(windows)])
        total = int(ones.sum())
        apart_from_it = np.array([out_of_sample(RATIO, ratio(one, total, whole), rows, whole) for one in ones])
        spread = Spread(float(apart_from_it.mean()), float(apart_from_it.std(ddof=1)), windows)
        for p, into in ((0.3, same), (0.5, other)):
            into.append(spread_p_value(ratio(rng.binomial(rows, share(p)), total, whole), spread))
    assert np.mean(np.array(same) < 0.01) < 0.018
    assert np.mean(np.array(same) < 0.001) < 0.003
    assert np.mean(np.array(other) < 0.0008) > found
