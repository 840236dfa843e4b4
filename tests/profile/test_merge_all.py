"""Several blocks taken in at once are what they are one after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.profile.numeric import NumericBlock, NumericColumns

MEMBERS = ("count", "missing", "mismatch", "out_of_range", "mean", "m2", "low", "high")


def blocks_of(seed: int, sizes: list[int], odd: int) -> list[NumericBlock]:
    """A block for each size; that of number ``odd`` counts other features, or in other bins."""
    rng = np.random.default_rng(seed)
    found = []
    for number, size in enumerate(sizes):
        x = rng.normal(rng.normal(), 1.0, (3, size)).round(2)
        x[rng.random(x.shape) < 0.2] = np.nan
        names: tuple[str, ...] = ("a", "b", "c")
        edges: str | None = "e"
        if number == odd:
            names, edges = _odd(rng, names)
        bins = np.where(np.isnan(x), 0, 1 + (x > 0)).astype(np.int64)
        columns = NumericColumns(names, x, bins=bins if edges else None, edges_id=edges, width=4)
        found += columns.group(np.arange(size), np.array([0]), bool(number % 2))
    return found


def _odd(rng: np.random.Generator, names: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    return [(("a", "c", "d"), "e"), (names, "other"), (names, None)][int(rng.integers(3))]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(-1, 6))
def test_blocks_taken_in_at_once(seed: int, sizes: list[int], odd: int) -> None:
    one, other = NumericBlock(), NumericBlock()
    blocks = blocks_of(seed, sizes, odd)
    one.merge_all(blocks[:1], 0, sizes[:1])
    one.merge_all(blocks[1:], sizes[0], sizes[1:])
    rows = 0
    for block, size in zip(blocks_of(seed, sizes, odd), sizes, strict=True):
        other.merge(block, rows, size)
        rows += size
    assert one.names == other.names
    for member in MEMBERS:
        assert getattr(one, member) == pytest.approx(getattr(other, member), nan_ok=True), member
    assert (one.bins is None) == (other.bins is None)
    assert one.bins is None or (one.bins == other.bins).all()
    assert [of.tolist() for of in one.distinct] == [of.tolist() for of in other.distinct]
    if sum(sizes) <= 200:
        assert one.values.medians() == pytest.approx(other.values.medians(), nan_ok=True)
        assert [one.values.at(row, (0.1, 0.9)) for row in range(3)] == [other.values.at(row, (0.1, 0.9)) for row in range(3)]
