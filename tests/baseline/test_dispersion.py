"""What a baseline's windows say of their independence, and the level and power that tests have because of it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from tidegauge.baseline.blocks import BLOCKS, BlockDispersions
from tidegauge.baseline.contrasts import Contrasts
from tidegauge.baseline.dispersion import Dispersions, moderate
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.prediction_limits import out_of_sample
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


def spread_of(counts: list[NDArray[np.int64]], contrasts: Contrasts, path: str) -> dict[str, Spread]:
    """Of each direction's scores over windows, or blocks, that together are the reference."""
    scores: dict[str, list[float]] = {}
    for of in counts:
        for name, z in number_shift(of, contrasts, path, None, ROWS)["shift_z"].items():
            scores.setdefault(name, []).append(out_of_sample("shift_z", z, int(of.sum()), contrasts.total))
    return {
        f"{path}.shift_z.{name}": Spread(float(np.mean(zs)), float(np.std(zs, ddof=1)), len(zs))
        for name, zs in scores.items()
        if len(zs) > 1
    }


def judged(
    rng: np.random.Generator, phi: float, features: int, reference: int, new: int, shift: float = 0.0, *, blocks: bool = False
) -> tuple[Dispersions, NDArray[np.float64]]:
    """What the reference windows of several features say, and with ``blocks`` those of its rows, and p-values of new windows
    (new, features)."""
    spreads: dict[str, Spread] = {"predictions": Spread(ROWS, 0.0, reference)}
    block: dict[str, Spread] = {"predictions": Spread(ROWS * reference / BLOCKS, 0.0, BLOCKS)}
    two_blocks: dict[str, Spread] = {}
    held = []
    for feature in range(features):
        values = drawn(rng, phi, reference + new)
        bins = Bins(np.quantile(values[:reference], SHARES))
        counts = [counted(of, bins) for of in values[:reference]]
        contrasts = Contrasts(np.sum(counts, axis=0), bins)
        path = f"data.features.x{feature}"
        spreads |= spread_of(counts, contrasts, path)
        if blocks:
            row = values[:reference].ravel()
            block |= spread_of([counted(of, bins) for of in np.array_split(row, BLOCKS)], contrasts, path)
            two_blocks |= spread_of([counted(of, bins) for of in np.array_split(row, BLOCKS // 2)], contrasts, path)
        held.append((path, contrasts, bins, values[reference:] + shift))
    said = BlockDispersions(block, two_blocks, ROWS * reference) if blocks else None
    dispersions = Dispersions(spreads if reference > 1 else {}, None, said)
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
    [
        (0.0, 10, 30, 1.3),
        (0.0, 3, 12, 1.3),
        pytest.param(0.5, 10, 30, 1.5, marks=pytest.mark.long),
        (0.9, 10, 30, 2.0),
        (0.9, 3, 12, 2.0),
    ],
)
def test_the_family_holds_its_level(phi: float, features: int, windows: int, most: float) -> None:
    """By simulation, on independent and on autocorrelated rows, with many features and few, many windows and few."""
    rng = np.random.default_rng(2)
    fired = []
    for _ in range(40 if features > 5 else 80):
        fired.extend((judged(rng, phi, features, windows, 50)[1].min(axis=1) < 0.01 / features).tolist())
    assert np.mean(fired) <= 0.01 * most


@pytest.mark.parametrize(
    ("phi", "windows", "most"), [(0.0, 3, 1.3), pytest.param(0.5, 3, 1.3, marks=pytest.mark.long), (0.7, 1, 1.5), (0.9, 4, 1.5)]
)
def test_the_family_holds_its_level_where_windows_are_few_or_none(phi: float, windows: int, most: float) -> None:
    rng = np.random.default_rng(7)
    fired = []
    for _ in range(50):
        fired.extend((judged(rng, phi, 8, windows, 10, blocks=True)[1].min(axis=1) < 0.01 / 8).tolist())
    assert np.mean(fired) <= 0.01 * most


def test_blocks_say_how_much_windows_vary() -> None:
    """The variance of a mean of an AR(1) process is (1 + φ) / (1 - φ) of what it is of independent rows; where little is known
    of it, it is taken for somewhat larger."""
    rng = np.random.default_rng(8)
    path = "data.features.x0.shift_z.location"
    for phi in (0.3, 0.7, 0.9):
        found = [judged(rng, phi, 6, 4, 0, blocks=True)[0].factor(path, ROWS)[0] for _ in range(12)]
        assert 0.9 < np.mean(found) * (1 - phi) / (1 + phi) < 1.35


def test_independence_known_of_blocks_costs_no_power() -> None:
    rng = np.random.default_rng(9)
    assert np.mean([judged(rng, 0.0, 8, 3, 0, blocks=True)[0].independent for _ in range(15)]) >= 0.8
    assert not any(judged(rng, 0.3, 8, 3, 0, blocks=True)[0].independent for _ in range(10))
    found = np.concatenate([judged(rng, 0.5, 8, 3, 20, 0.5, blocks=True)[1].ravel() for _ in range(4)])
    assert (found < 0.01 / 8).mean() > 0.6, "half a standard deviation, where a window of 400 weighs as 133"


def test_what_windows_have_in_common_besides_their_rows_is_seen() -> None:
    """Seasons: rows within a window are independent, but its mean is not that of the others."""
    spreads = {"predictions": Spread(400.0, 0.0, 4)}
    block, two_blocks = {"predictions": Spread(50.0, 0.0, 32)}, {}
    for feature in range(8):
        path = f"data.features.x{feature}.shift_z.location"
        spreads[path], block[path], two_blocks[path] = Spread(0.0, 6.0, 4), Spread(0.0, 1.1, 32), Spread(0.0, 1.2, 16)
    found = Dispersions(spreads, None, BlockDispersions(block, two_blocks, 1600))
    assert found.factor(path, 400)[0] == pytest.approx(27, rel=0.05)
    pairs = Dispersions({}, found, BlockDispersions(block, two_blocks, 1600))
    assert pairs.factor(path, 800)[0] == pytest.approx(27, rel=0.05), "what single windows say holds for pairs of them"


def test_a_direction_too_rare_to_be_scored_is_taken_for_the_widest() -> None:
    rng = np.random.default_rng(10)
    found = judged(rng, 0.5, 8, 1, 0, blocks=True)[0]
    widest = max(found.factor(f"data.features.x0.shift_z.{name}", ROWS) for name in ("location", "scale", "skewness"))
    assert found.factor("data.features.x0.shift_z.upper_tail", ROWS) == widest


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
