"""A cache of profiles loses nothing, however often it has to drop something, and takes no more room than allowed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.engine.stage import MemoryStore
from tidegauge.monitor.profile_cache import FIXED_BYTES, ProfileCache
from tidegauge.profile.outcome import OutcomeProfile

STEPS = st.lists(st.tuples(st.sampled_from(["add", "look", "forget", "flush", "shrink"]), st.integers(0, 9)), max_size=80)


@pytest.mark.parametrize("profiles", [0, 3, 100])
@given(steps=STEPS)
def test_what_was_counted_is_there(profiles: int, steps: list[tuple[str, int]]) -> None:
    store, most = MemoryStore(), profiles * FIXED_BYTES
    cache = ProfileCache(store, OutcomeProfile, OutcomeProfile.unpack, most)
    expected: Counter[int] = Counter()
    for step, number in steps:
        place = b"o%d" % number
        if step == "add":
            found = cache.get(place)
            found.confusion["1\x1f1"] = found.confusion.get("1\x1f1", 0) + 1
            cache.changed(place, 10)
            expected[number] += 1
        elif step == "look":
            assert cache.get(place).confusion.get("1\x1f1", 0) == expected[number]
        elif step == "forget":
            cache.forget(place)
            del expected[number]
        elif step == "flush":
            cache.flush()
        else:
            cache.shrink()
            assert cache.held_bytes <= most
    cache.flush()
    afterwards = ProfileCache(store, OutcomeProfile, OutcomeProfile.unpack, most)
    assert {of: afterwards.get(b"o%d" % of).confusion.get("1\x1f1", 0) for of in expected} == dict(expected)
