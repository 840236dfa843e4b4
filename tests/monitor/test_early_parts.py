"""Parts of deltas that wait for their time come back in order, whether memory or only the store holds them, and however many
wait memory is bounded."""

from __future__ import annotations

from collections import defaultdict, deque
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.engine.delta import Part, ProfileDelta
from tidegauge.engine.stage import MemoryStore
from tidegauge.monitor import early_parts
from tidegauge.monitor.early_parts import EarlyParts

PLACES = st.tuples(st.sampled_from(["churn", "fraud"]), st.sampled_from([0.0, 10.0, 20.0]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), PLACES), st.tuples(st.just("take"), PLACES), st.tuples(st.sampled_from(["flush", "restart"]))
    ),
    max_size=60,
)  # fmt: skip


def part(number: int, arrival: float, size: int = 10) -> Part:
    return ProfileDelta("churn:1", (), number, arrival, b"%010d" % number + bytes(size), None, {}, arrival)


@pytest.mark.parametrize("held", [0, 2 * early_parts.FIXED_BYTES, 1 << 20])
@given(steps=STEPS)
def test_parts_come_back_in_order(held: int, steps: list[tuple[str, tuple[str, float]]]) -> None:
    store = MemoryStore()
    with mock.patch.object(early_parts, "MAX_HELD_BYTES", held):
        waiting = EarlyParts(store)
        expected: defaultdict[tuple[str, float], deque[Part]] = defaultdict(deque)
        for number, (step, *place) in enumerate(steps):
            if step == "add":
                ((model, arrival),) = place
                waiting.add(model, part(number, arrival))
                expected[model, arrival].append(part(number, arrival))
            elif step == "take":
                ((model, arrival),) = place
                queue = expected[model, arrival]
                assert waiting.take(model, arrival) == (queue.popleft() if queue else None)
            else:
                waiting.flush()
                if step == "restart":
                    waiting = EarlyParts(store)
        for (model, arrival), queue in expected.items():
            until = {at for of, at in expected if of == model and at <= arrival and expected[of, at]}
            assert set(waiting.arrivals(model, arrival)) == until
            while queue:
                assert waiting.take(model, arrival) == queue.popleft()
            assert waiting.take(model, arrival) is None
        waiting.flush()
    assert list(store.scan(b"")) == []


def test_memory_holds_a_bounded_share_of_a_backlog() -> None:
    waiting, number = EarlyParts(MemoryStore()), 0
    for _ in range(50):
        for _ in range(20):
            waiting.add("churn", part(number, float(number // 7), 50_000))
            number += 1
        waiting.flush()
    assert waiting.held_bytes <= early_parts.MAX_HELD_BYTES
    assert sum(waiting.take("churn", float(of // 7)) == part(of, float(of // 7), 50_000) for of in range(number)) == number
