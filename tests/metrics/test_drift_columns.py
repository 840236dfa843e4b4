"""What is said of many numbers at once is what is said of each by itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.baseline.binning import bins_of_values
from tidegauge.baseline.contrasts import Contrasts
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.baseline.spread import Spread
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.metrics.distance import chi_square
from tidegauge.metrics.drift import Against, binned_drift, mix_shift, mixed_drifts, number_drift, number_drifts
from tidegauge.metrics.drift_columns import binned_drifts, chi_squares, gather, jensen_shannons, side_by_side
from tidegauge.metrics.shift import number_shift
from tidegauge.metrics.shift_columns import ContrastColumns, factors_of, number_shifts
from tidegauge.profile.schema import SHARES, Bins, bin_codes
from tidegauge.spec import BaselineSpec

COUNTS = st.one_of(st.integers(0, 4), st.integers(0, 60), st.integers(0, 5000))
ROWS = st.integers(1, 14).flatmap(lambda width: st.tuples(*[arrays(np.int64, width, elements=COUNTS)] * 2))


@settings(deadline=None, max_examples=300)
@given(st.lists(ROWS, min_size=1, max_size=5))
def test_many_numbers_are_each_what_they_are_alone(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:  # type: ignore[type-arg]
    current, before = (side_by_side([pair[side] for pair in pairs]) for side in (0, 1))
    statistics, freedoms = chi_squares(current, before)
    for row, (now, earlier) in enumerate(pairs):
        alone = chi_square(now, earlier)
        assert (freedoms[row], statistics[row]) == ((0, 0) if alone is None else (alone[1], pytest.approx(alone[0])))
    found = zip(binned_drifts(current, before).members(), jensen_shannons(current, before).tolist(), strict=True)
    together = [of | ({"js": js} if of else {}) for of, js in found]
    assert together == [pytest.approx(binned_drift(now, earlier)) for now, earlier in pairs]


def contrasts_of(seed: int) -> Contrasts:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=800) if seed % 2 else rng.exponential(size=800).round(1)
    bins = Bins(np.quantile(x, SHARES))
    return Contrasts(np.bincount(bin_codes(x, bins.edges), minlength=bins_of(bins)), bins)


def bins_of(bins: Bins) -> int:
    return len(bins.deciles)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([5, 40, 3000]), st.booleans())
def test_shifts_of_many_numbers_are_each_what_they_are_alone(seed: int, numbers: int, size: int, spread: bool) -> None:
    rng = np.random.default_rng(seed)
    held = [contrasts_of(number) for number in range(numbers)]
    counts = [rng.multinomial(size, rng.dirichlet(0.5 + 2 * (of.shares > 0))) for of in held]
    paths = [f"data.features.f{number}" for number in range(numbers)]
    spreads = {f"{path}.shift_z.{name}": Spread(0.0, 1.5, 20) for path in paths for name in ("location", "upper_tail")}
    dispersions = Dispersions(spreads) if spread else None
    found = number_shifts(side_by_side(counts), ContrastColumns(held), factors_of(paths, dispersions, size))
    for of, contrasts, path, together in zip(counts, held, paths, found, strict=True):
        alone = number_shift(of, contrasts, path, dispersions, size)
        assert together.keys() == alone.keys()
        assert together.get("shift_z", {}) == pytest.approx(alone.get("shift_z", {}), rel=1e-9, abs=1e-9)
        for member in ("shift", "shift_p_value"):
            assert together.get(member, 0.0) == pytest.approx(alone.get(member, 0.0), rel=1e-7), member


def test_every_distance_of_many_features_is_what_it_is_of_each() -> None:
    """Windows of a wide stream, of the whole model and of segments: numbers of few values and of many, with gaps, before and
    after their bins are known."""
    rng = np.random.default_rng(3)
    pipeline = Pipeline(replace(SPEC, windows=("1m",), baseline=BaselineSpec(first=300)))
    for minute in range(6):
        values = []
        for second in range(60):
            features = {"flag": int(rng.random() < 0.3), "size": rng.exponential(), "count": int(rng.poisson(2.0 + minute))}
            features["mixed"] = None if rng.random() < 0.1 else 0.0 if rng.random() < 0.6 else rng.normal(minute / 10)
            event = prediction(60 * minute + second, START + 60.0 * minute + second, prediction=1, score=0.5, features=features)
            values.append(json.dumps(event | {"segments": {"region": "eu" if second % 3 else "us"}}).encode())
        pipeline.send(PREDICTIONS, values)
        pipeline.checkpoint()
    pipeline.finish()
    whole = pipeline.registry.baseline("churn", "churn_xgb:3")
    assert whole is not None
    compared = 0
    for header in pipeline.monitor.windows.headers.values():
        for segment in header.segments:
            baseline, block = whole.part(segment), pipeline.monitor.windows.data(header, segment).features
            assert baseline is not None
            against = Against(baseline, header.window, 60)
            names = {name: row for row, name in enumerate(block.names) if name in baseline.schema.bins}
            together = number_drifts(block, names, against)
            for name, row in names.items():
                path = f"data.features.{name}"
                alone = number_drift(block, row, baseline.data.features, name, against, name, path)
                assert together.get(name, {}).keys() == alone.keys()
                for member, value in alone.items():
                    near = value if isinstance(value, str) else pytest.approx(value, rel=1e-7, abs=1e-12)
                    assert together[name][member] == near, (name, member)
                compared += "shift" in alone
    assert compared > 20


def test_counts_are_added_up_by_place() -> None:
    counts, places = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[0, 1, 1], [2, 0, 2]])
    assert gather(counts, places).tolist() == [[1, 5, 0], [5, 0, 10]]


def test_contrasts_of_many_numbers_are_each_what_they_are_alone() -> None:
    rng = np.random.default_rng(9)
    samples = [rng.normal(size=300), rng.poisson(3.0, 300).astype(float), rng.exponential(size=300).round(1), np.full(300, 2.5)]
    bins = [bins_of_values(of) for of in samples]
    counts = [
        np.bincount(bin_codes(rng.permutation(of)[:size], places.edges), minlength=places.size)
        for size in (20, 150)
        for of, places in zip(samples, bins, strict=True)
    ]
    for own, places, together in zip(counts, 2 * bins, Contrasts.of_many(counts, 2 * bins), strict=True):
        alone = Contrasts(own, places)
        for member in ("scores", "shares", "skews"):
            assert np.array_equal(getattr(together, member), getattr(alone, member)), member
        assert together.total == alone.total
        # Over the reference the scores have mean 0 and variance 1, and are uncorrelated.
        held = together.scores[together.scores.any(axis=1)]
        assert np.allclose(held @ together.shares, 0.0, atol=1e-9)
        assert np.allclose((held * together.shares) @ held.T, np.eye(len(held)), atol=1e-6)


@settings(deadline=None, max_examples=200)
@given(st.lists(ROWS, min_size=1, max_size=5))
def test_mixes_of_many_segments_are_each_what_they_are_alone(pairs: list[tuple[np.ndarray, np.ndarray]]) -> None:  # type: ignore[type-arg]
    current, before = (side_by_side([pair[side] for pair in pairs]) for side in (0, 1))
    spread = Dispersions({"label_mix.chi_square_ratio": Spread(1.5, 1.0, 20)})
    for dispersions in (None, spread):
        found = mixed_drifts(current, before, "label_mix", [dispersions] * len(pairs))
        for of, (now, earlier) in zip(found, pairs, strict=True):
            alone = binned_drift(now, earlier) | mix_shift(now, earlier, "label_mix", dispersions)
            assert list(of) == list(alone)
            assert of == pytest.approx(alone, rel=1e-7, abs=1e-12)
