"""Distinct values: exact below K, the same sketch however it is come by, within its error above."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.profile.distinct import K, estimate, hash_numbers, merge, smallest, smallest_of_rows


def plain(hashes):
    return np.unique(hashes)[:K].tolist()


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([1, 7, K, 4 * K, 4 * K + 1, 8 * K + 1, 20 * K]), st.sampled_from([3, 400, 10**9]))
def test_sketches_of_rows_are_those_of_the_plain_definition(seed, n, values):
    rng = np.random.default_rng(seed)
    hashes = hash_numbers(rng.integers(0, values, (3, n)).astype(float))
    valid = rng.random((3, n)) < 0.7
    assert [row.tolist() for row in smallest_of_rows(hashes, None)] == [plain(row) for row in hashes]
    held = smallest_of_rows(hashes, valid)
    assert [row.tolist() for row in held] == [plain(row[valid[f]]) for f, row in enumerate(hashes)]
    assert merge(smallest(hashes[0]), smallest(hashes[1])).tolist() == plain(hashes[:2])


@pytest.mark.parametrize("values", [1, 300, K - 1])
def test_the_number_of_distinct_values_is_exact_below_k(values):
    assert estimate(smallest(hash_numbers(np.arange(values).repeat(3).astype(float)))) == values


def test_within_four_standard_errors_above():
    for values in (2000, 50_000):
        assert estimate(smallest(hash_numbers(np.arange(values) * 1.1))) == pytest.approx(values, rel=4 / np.sqrt(K - 2))
