"""Quantiles of many numbers at once are those of one sketch of all values, however they come together."""

import numpy as np
import pytest
from datasketches import kll_doubles_sketch
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.profile.quantiles import MAX_ROWS, Quantiles

SHARES = [0.0, 0.01, 0.25, 0.5, 0.95, 0.99, 1.0]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 70), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_few_values_are_exact_in_any_grouping(seed, sizes, packed, ties):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(3, size)).round(0 if ties else 9) for size in sizes]
    for part in parts:
        part[rng.random(part.shape) < 0.2] = np.nan
    whole = Quantiles.none(3)
    for part in parts:
        whole.merge(Quantiles(part))
        if packed:
            whole = Quantiles.unpack(whole.pack())
    rows = np.concatenate(parts, axis=1)
    if rows.shape[1] > MAX_ROWS:
        return
    for row, values in enumerate(rows):
        values = values[~np.isnan(values)]
        sketch = kll_doubles_sketch(200)
        sketch.update(values)
        assert whole.at(row, SHARES) == (sketch.get_quantiles(SHARES, True) if len(values) else [])
        made = whole.sketch(row)
        assert (made is None) == (not len(values))
        assert made is None or made.get_quantiles(SHARES, True) == sketch.get_quantiles(SHARES, True)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 900))
def test_many_values_are_all_in_the_sketch_within_its_error(seed, size):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(2, 4000))
    whole = Quantiles.none(2)
    for start in range(0, 4000, size):
        whole.merge(Quantiles.unpack(Quantiles(values[:, start : start + size]).pack()))
    for row in range(2):
        sketch = whole.sketch(row)
        assert sketch.n == 4000
        for share in (0.1, 0.5, 0.9):
            (found,) = whole.at(row, (share,))
            assert (values[row] <= found).mean() == pytest.approx(share, abs=0.03)


def test_a_number_unknown_to_one_side_has_no_values_of_it():
    one, other = Quantiles(np.array([[1.0, 2.0]])), Quantiles(np.array([[5.0]]))
    whole = one.aligned(np.array([0, -1]))
    whole.merge(other.aligned(np.array([-1, 0])))
    assert [whole.at(row, (0.5, 1.0)) for row in range(2)] == [[1.0, 2.0], [5.0, 5.0]]
