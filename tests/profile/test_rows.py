"""Rows that travel say what the profiles made of them at once would have said."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import Record
from tidegauge.join.columns import data_columns
from tidegauge.join.outcome_columns import OutcomeRow, outcome_columns
from tidegauge.profile import data_rows, outcome_table
from tidegauge.profile.category import KnownValues
from tidegauge.profile.data import DataColumns
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.outcome_table import OutcomeTable
from tidegauge.profile.range_losses import RangeCodes
from tidegauge.profile.schema import Bins, Schema
from tidegauge.spec import KpiSpec, ModelSpec, WinsorLimits

VALUES = st.one_of(st.none(), st.floats(-5, 5), st.sampled_from(["a", "b", "new"]), st.booleans(), st.integers(-3, 3))
EVENTS = st.lists(
    st.fixed_dictionaries({
        "features": st.dictionaries(st.sampled_from(["x", "y", "plan", "odd"]), VALUES),
        "prediction": st.sampled_from([0, 1, None]),
        "score": st.one_of(st.none(), st.floats(-0.5, 1.5)),
        "error": st.sampled_from([None, None, "failed"]),
        "attributions": st.one_of(st.none(), st.dictionaries(st.sampled_from(["x", "y"]), st.floats(-1, 1))),
    }),
    min_size=1, max_size=30,
)  # fmt: skip
SCHEMA = Schema(
    "edges", {"x": Bins(np.linspace(-3, 3, 15)), "y": Bins(np.linspace(-1, 4, 15))}, {"plan": frozenset(("a", "b"))},
    frozenset(("plan",)), {"plan": np.zeros(0, np.uint32)},
)  # fmt: skip
SPEC = ModelSpec("m", task="binary")


def decoded(events: list[dict[str, Any]]) -> list[Prediction]:
    lines = [
        json.dumps(
            {"request_id": f"r{n}", "ts": 1e9 + n, "model_version": "m:1", "confidence": event.get("score"), **event}
        ).encode()
        for n, event in enumerate(events)
    ]
    made, _, dead = Decoder(Prediction).chunk([Record(n, -1, None, line) for n, line in enumerate(lines)])
    assert not dead
    return made


def grouped(columns: Any, whole: bool) -> list[bytes]:
    """Packed profiles of every third row, and of the others."""
    n = len(columns.error)
    order = np.concatenate((np.arange(0, n, 3), np.setdiff1d(np.arange(n), np.arange(0, n, 3))))
    starts = np.array([0, len(range(0, n, 3))]) if n > 1 else np.array([0])
    return [profile.pack() for profile in columns.group(order, starts, whole)]


@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["learning", "known"])
@given(events=EVENTS, cut=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_predictions_that_travelled_in_parts_make_the_same_profiles(
    schema: Schema | None, events: list[dict[str, Any]], cut: int
) -> None:
    columns = data_columns(decoded(events), SPEC, schema)
    n = len(columns.error)
    halves = [np.arange(min(cut, n)), np.arange(min(cut, n), n)]
    parts = [data_rows.unpack(data_rows.pack(data_rows.take(columns, half))) for half in halves if len(half)]
    assert len({data_rows.layout(of) for of in parts}) == 1 or columns.attributions is not None
    if len({data_rows.layout(of) for of in parts}) == 1:
        for whole in (True, False):
            assert grouped(data_rows.together(parts), whole) == grouped(columns, whole)


def test_a_value_that_became_known_is_counted_as_each_part_knew_it() -> None:
    events = decoded([{"features": {"x": 1.0, "plan": "c"}}, {"features": {"x": 2.0, "plan": "c"}}])
    later = Schema("edges", SCHEMA.bins, {"plan": frozenset(("a", "b", "c"))}, SCHEMA.texts)
    first, second = data_columns(events[:1], SPEC, SCHEMA), data_columns(events[1:], SPEC, later)
    both = data_rows.together([first, second])
    (profile,) = both.group(np.arange(2), np.zeros(1, np.intp), True)
    assert profile.categories["plan"].counts == {"c": 1}
    assert profile.categories["plan"].new == {"c": 1}


OUTCOMES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, "cat", "dog", True, None, 2.5]), st.sampled_from([0, 1, "cat", "dog", False, None, 1.25]),
        st.one_of(st.none(), st.floats(-0.2, 1.2)), st.sampled_from([1, 1, -1]),
        st.dictionaries(st.sampled_from(["revenue", "clicks"]), st.floats(-10, 10)), st.booleans(),
    ),
    min_size=1, max_size=30,
)  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression", None])
@given(rows=OUTCOMES, cut=st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_outcomes_that_travelled_in_parts_make_the_same_profiles(task: Any, rows: list[Any], cut: int) -> None:
    spec = ModelSpec("m", task=task, kpis={"revenue": KpiSpec(winsorise=WinsorLimits(-1.0, 5.0))})
    given_rows = [
        OutcomeRow(0, 100.0 + n, value, score, None, label, kpis or None, 200.0 + 7 * n, sign, True, b"r%d" % n, 200.0, implied)
        for n, (value, label, score, sign, kpis, implied) in enumerate(rows)
    ]
    columns = outcome_columns(given_rows, spec)
    sample = np.arange(1, len(rows), 3)
    columns.codes = RangeCodes("r", 0.5, sample, np.stack((sample % 4, sample % 3), axis=1).astype(np.uint8))
    whole, n = OutcomeTable.of(columns), len(rows)
    parts = [whole.take(half) for half in (np.arange(min(cut, n)), np.arange(min(cut, n), n)) if len(half)]
    # Parts name classes as they meet them.
    own = [OutcomeTable.of(OutcomeTable.unpack(of.pack()).columns()) for of in parts]
    both = outcome_table.together(own)
    order, starts = np.arange(n)[::-1].copy(), np.array([0, n // 2]) if n > 1 else np.array([0])
    for made, at_once in zip(
        OutcomeGroups(both.columns()).group(order, starts, True), OutcomeGroups(columns).group(order, starts, True), strict=True
    ):
        assert (made.sums, made.confusion, made.examples) == (at_once.sums, at_once.confusion, at_once.examples)
        assert made.histograms.pack() == at_once.histograms.pack()
        read = OutcomeProfile.unpack(made.pack())
        assert {n: t.pack() for n, t in read.ranges.items()} == {n: t.pack() for n, t in at_once.ranges.items()}
    assert both.delay_counts().tolist() == sum(of.delay_counts() for of in parts).tolist()


@pytest.mark.parametrize("kind", [DataColumns, OutcomeColumns])
def test_rows_that_travel_have_all_members(kind: type) -> None:
    """Whoever adds one has to say what becomes of it where rows are packed, picked out and put together."""
    known = {
        DataColumns: "abstained attributions categories error features other_results request_ids result_class results scores "
        "unexpected",
        OutcomeColumns: "actual business codes delay hit ids implied labelled log_loss numbers other_score positive predicted "
        "score sign unreadable",
    }
    assert sorted(kind.__slots__) == known[kind].split()


def test_values_the_baseline_does_not_know_are_new() -> None:
    assert KnownValues(frozenset(("a",))).places(["a", "b"]).tolist() == [0, 2]
