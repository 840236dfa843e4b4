"""Outcomes that are added to profiles give what profiles of their own give when merged."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.outcome_rows import OutcomeColumns

ROW = st.tuples(
    st.integers(0, 3), st.sampled_from([0.0, 0.04, 0.4, 0.9, 1.0, 1.5]), st.integers(0, 1), st.sampled_from([-1, 1])
)  # fmt: skip
ROWS = st.lists(ROW, min_size=1, max_size=30)


def columns(rows: list[tuple[int, float, int, int]]) -> OutcomeColumns:
    """Rows: the number of the segment, the score, the actual class, and whether they are added or taken back."""
    _, scores, actual, signs = zip(*rows, strict=True)
    predicted = [str(int(score > 0.5)) for score in scores]
    return OutcomeColumns(
        np.array(signs, np.int64), np.ones(len(rows), bool), predicted, [str(of) for of in actual], None,
        np.array(scores), np.array(actual, np.int64), None, {"revenue": np.array(scores) * 7}, np.arange(len(rows)) * 60.0,
        [b"r%d" % number for number in range(len(rows))], other_score=1 - np.array(scores),
    )  # fmt: skip


def runs(rows: list[tuple[int, float, int, int]]) -> tuple[Any, Any, list[int]]:
    segments = np.array([of[0] for of in rows])
    found, starts = np.unique(np.sort(segments), return_index=True)
    return np.argsort(segments, kind="stable"), starts, found.tolist()


def said(profile: OutcomeProfile) -> Any:
    histograms = [(of.keys.tolist(), of.counts.tolist()) for of in (profile.histograms, profile.other)]
    return profile.sums, profile.confusion, histograms, profile.examples


@given(ROWS, ROWS)
def test_added_as_merged(first: list[tuple[int, float, int, int]], then: list[tuple[int, float, int, int]]) -> None:
    added, merged = ({number: OutcomeProfile() for number in range(4)} for _ in range(2))
    for rows in (first, then):
        order, starts, segments = runs(rows)
        groups = OutcomeGroups(columns(rows))
        groups.add_to([added[of] for of in segments], order, starts)
        for of, profile in zip(segments, groups.group(order, starts), strict=True):
            merged[of].merge(profile)
    assert {of: said(profile) for of, profile in added.items()} == {of: said(profile) for of, profile in merged.items()}


@given(ROWS)
def test_what_is_taken_back_leaves_no_trace_and_no_example(rows: list[tuple[int, float, int, int]]) -> None:
    rows = [(segment, score, actual, 1) for segment, score, actual, _ in rows]
    order, starts, _ = runs(rows)
    profiles = OutcomeGroups(columns(rows)).group(order, starts)
    back = [(segment, score, actual, -1) for segment, score, actual, _ in rows]
    OutcomeGroups(columns(back)).add_to(profiles, order, starts)
    assert all(profile.empty() for profile in profiles)
    assert not any(wrong for profile in profiles for wrong in profile.examples.values())


def test_a_wrong_outcome_that_is_taken_back_beside_another_is_no_example() -> None:
    rows = [(0, 0.9, 0, 1), (0, 0.8, 0, -1)]
    (profile,) = OutcomeGroups(columns(rows)).group(np.arange(2), np.zeros(1, np.intp))
    assert profile.examples == {"r0": 0.9, "r1": 0.0}
