"""Segments keep their numbers whatever combinations of values come, and however many."""

from itertools import product

import pytest

from tidegauge.profile import grouping
from tidegauge.profile.grouping import SegmentNumbers

COMBINATIONS = [
    tuple((name, value) for name, value in (("region", region), ("device", device)) if value)
    for region, device in product(("eu", "us", "asia", ""), ("phone", "desk", ""))
]
BREAKDOWNS = [((), ("region",)), ((), ("region",), ("region", "device")), ((), ("device",))]


@pytest.mark.parametrize("remembered", [0, 3, 500])
def test_each_number_names_the_segment_that_the_values_lie_in(monkeypatch: pytest.MonkeyPatch, remembered: int) -> None:
    monkeypatch.setattr(grouping, "MAX_REMEMBERED", remembered)
    numbers = SegmentNumbers()
    known: dict[object, int] = {}
    for begin, breakdowns in product(range(0, len(COMBINATIONS), 2), BREAKDOWNS * 2):
        values = COMBINATIONS[begin : begin + 5]
        found = numbers.of(values, breakdowns)
        assert found.shape == (len(breakdowns), len(values))
        for breakdown, row in zip(breakdowns, found.tolist(), strict=True):
            for combination, number in zip(values, row, strict=True):
                held = dict(combination)
                if not held.keys() >= set(breakdown):
                    assert number == -1
                    continue
                segment = tuple((name, held[name]) for name in breakdown)
                assert numbers.names[number] == segment
                assert known.setdefault(segment, number) == number
    assert len(set(numbers.names)) == len(numbers.names)
