"""Partitions of one task are read in step, and none waits for one that does not move."""

from faust.types.tuples import TP
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.stream.in_step import AHEAD_MS, STALLED, StepwiseReading

P, L = TP("predictions", 3), TP("labels", 3)


def in_step():
    made = StepwiseReading()
    made.beside = {"predictions": ["labels"], "labels": ["predictions"]}
    return made


def test_what_is_ahead_waits_for_what_is_behind():
    made = in_step()
    made.read(P, 50_000, 1.0)
    made.read(L, 50_000 - AHEAD_MS, 1.0)
    assert not made.ahead(P, 1.1, lambda place: True)
    made.read(P, 50_001, 1.1)
    assert made.ahead(P, 1.2, lambda place: True)
    assert not made.ahead(L, 1.2, lambda place: True)
    assert not made.ahead(TP("predictions", 4), 1.2, lambda place: True)


def test_nobody_waits_for_a_partition_without_more_or_without_motion():
    made = in_step()
    made.read(L, 10_000, 1.0)
    made.read(P, 90_000, 1.0)
    assert made.ahead(P, 1.0 + STALLED / 2, lambda place: place == L)
    assert not made.ahead(P, 1.0 + STALLED / 2, lambda place: False)
    assert not made.ahead(P, 1.0 + STALLED, lambda place: True)


def test_nobody_waits_for_a_partition_of_which_nothing_was_read():
    made = in_step()
    made.read(P, 90_000, 1.0)
    assert not made.ahead(P, 1.1, lambda place: True)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.lists(st.integers(1, 5000), min_size=1, max_size=40))
@settings(max_examples=200, deadline=None)
def test_two_backlogs_are_read_to_their_ends_and_never_far_apart(predictions, labels):
    """Chunks of any lengths (ms): one of the two may always be read, so both end."""
    made, reached, chunks = in_step(), {P: 0, L: 0}, {P: predictions[::-1], L: labels[::-1]}
    for place in (P, L):
        made.read(place, 0, 0.0)
    while chunks[P] or chunks[L]:
        due = [place for place in (P, L) if chunks[place] and not made.ahead(place, 0.5, lambda place: bool(chunks[place]))]
        assert due
        for place in due:
            other = L if place == P else P
            assert reached[place] <= reached[other] + AHEAD_MS or not chunks[other]
        for place in due:
            reached[place] += chunks[place].pop()
            made.read(place, reached[place], 0.5)
