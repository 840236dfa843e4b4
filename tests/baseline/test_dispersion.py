"""What a baseline's windows say of their independence, and the level and power that tests have because of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from tidegauge.baseline.contrasts import Contrasts
from tidegauge.baseline.dispersion import Dispersions, moderate
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.prediction_limits import as_new
from tidegauge.metrics.shift import number_shift
from tidegauge.profile.schema import SHARES, Bins, bin_codes

ROWS = 400


def drawn(rng: np.random.Generator, phi: float, windows: int) -> NDArray[np.float64]:
    """Windows of ROWS values (windows, ROWS) of an AR(1) process with this correlation."""
    noise = rng.normal(size=windows * ROWS)
    noise[1:] *= np.sqrt(1 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise)).reshape(windows, ROWS)


def counted(values: NDArray[np.float64], bins: Bins) -> NDArray[np.int64]:
    return np.bincount(bin_codes(values, bins.edges), minlength=bins.size)


def judged(
    rng: np.random.Generator, phi: float, features: int, reference: int, new: int, shift: float = 0.0
) -> tuple[Dispersions, NDArray[np.float64]]:
    """What the reference windows of several features say, and p-values of new windows (new, features)."""
    spreads: dict[str, Spread] = {"predictions": Spread(ROWS, 0.0, reference)}
    held = []
    for feature in range(features):
        values = drawn(rng, phi, reference + new)
        bins = Bins(np.quantile(values[:reference], SHARES))
        counts = [counted(of, bins) for of in values[:reference]]
        contrasts = Contrasts(np.sum(counts, axis=0), bins)
        path = f"data.features.x{feature}"
        scores: dict[str, list[float]] = {}
        for of in counts:
            for name, z in number_shift(of, contrasts, path, None, ROWS)["shift_z"].items():
                scores.setdefault(name, []).append(as_new("shift_z", z, ROWS, ROWS * reference))
        for name, zs in scores.items():
            spreads[f"{path}.shift_z.{name}"] = Spread(float(np.mean(zs)), float(np.std(zs, ddof=1)), reference)
        held.append((path, contrasts, bins, values[reference:] + shift))
    dispersions = Dispersions(spreads)
    found = [
        [
            number_shift(counted(values[window], bins), contrasts, path, dispersions, ROWS)
            for path, contrasts, bins, values in held
        ]
        for window in range(new)
    ]
    return dispersions, np.array([[of["shift_p_value"] for of in window] for window in found])


def test_independent_rows_are_told_from_others() -> None:
    rng = np.random.default_rng(1)
    alike = [judged(rng, 0.0, 8, 30, 1)[0].independent for _ in range(30)]
    assert np.mean(alike) >= 0.8
    assert not any(judged(rng, 0.3, 8, 30, 1)[0].independent for _ in range(10))
    assert not judged(rng, 0.0, 1, 10, 1)[0].independent, "too little is known"


@pytest.mark.parametrize(
    ("phi", "features", "windows", "most"),
    [(0.0, 10, 30, 1.3), (0.0, 3, 12, 1.3), (0.5, 10, 30, 1.5), (0.9, 10, 30, 2.0), (0.9, 3, 12, 2.0)],
)
def test_the_family_holds_its_level(phi: float, features: int, windows: int, most: float) -> None:
    """By simulation, on independent and on autocorrelated rows, with many features and few, many windows and few."""
    rng = np.random.default_rng(2)
    fired = []
    for _ in range(40 if features > 5 else 80):
        fired.extend((judged(rng, phi, features, windows, 50)[1].min(axis=1) < 0.01 / features).tolist())
    assert np.mean(fired) <= 0.01 * most


def test_independence_known_of_many_features_costs_little_power() -> None:
    """A mean that moved by 0.25 of 400 rows is found nearly as often as if the variance were known."""
    rng = np.random.default_rng(3)
    found = np.concatenate([judged(rng, 0.0, 10, 30, 10, 0.25)[1].ravel() for _ in range(5)])
    assert (found < 0.001).mean() > 0.85
    clustered = judged(rng, 0.9, 10, 30, 20, 0.25)[1].ravel()
    assert (clustered < 0.001).mean() < 0.1, "the same says nothing where rows repeat each other"


def test_moderated_variances_are_between_their_own_and_the_common_one() -> None:
    rng = np.random.default_rng(4)
    truth = 1 / rng.gamma(5.0, 1 / 5.0, 4000)
    squares = truth * rng.chisquare(20, 4000) / 20
    found, freedoms = moderate(squares, np.full(4000, 20.0))
    assert freedoms[0] == pytest.approx(30, rel=0.1), "the prior weighs as its ten degrees of freedom"
    assert ((found - truth) ** 2).mean() < 0.8 * ((squares - truth) ** 2).mean()
    same, all_of_them = moderate(rng.chisquare(20, 50) / 20, np.full(50, 20.0))
    assert all_of_them[0] > 100
    assert np.ptp(same) < 0.5


def test_the_excess_grows_with_a_larger_window() -> None:
    spreads: dict[str, Spread] = {"predictions": Spread(100.0, 0.0, 20)}
    spreads |= {f"data.features.x{f}.shift_z.location": Spread(0.0, 2.0 + f / 10, 20) for f in range(5)}
    dispersions = Dispersions(spreads)
    usual, larger = (dispersions.factor("data.features.x0.shift_z.location", rows)[0] for rows in (100, 300))
    assert larger - 1 == pytest.approx(3 * (usual - 1))
    assert dispersions.factor("data.features.x0.shift_z.location", 10)[0] == usual
    assert dispersions.factor("data.features.new.shift_z.location", 10)[0] == 1.0
