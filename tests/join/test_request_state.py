"""The fixed layouts of join entries say the same as their general form."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.engine.sortable_time import sortable_second
from tidegauge.join import request_state
from tidegauge.join.request_state import EARLY, JOINED, LAYOUTS, OPEN, KeptPrediction, RequestState, Statement

numbers = st.integers(1 - 2**53, 2**53 - 1) | st.floats(-9e15, 9e15) | st.booleans() | st.none()
moments = st.floats(0, 2e9)


def opened(values, context=7, ts=5.0, scores=None):
    table = np.zeros(len(values), LAYOUTS[OPEN])
    table["form"], table["context"], table["ts"] = OPEN, context, ts
    table["kind"], table["value"] = request_state.pack_values(values)
    table["score"] = scores if scores is not None else np.nan
    return table


def early(labels, ts=9.0):
    table = np.zeros(len(labels), LAYOUTS[EARLY])
    table["form"], table["label_ts"], table["offset"], table["arrived"] = EARLY, ts, 3, -1
    table["label_kind"], table["label"] = request_state.pack_values(labels)
    return table


@given(st.lists(numbers, min_size=1, max_size=20))
def test_packed_values_are_unpacked_with_their_types(values):
    found = request_state.unpack_values(*request_state.pack_values(values))
    assert found == values
    assert [type(value) is bool for value in found] == [type(value) is bool for value in values]


@given(st.lists(numbers, max_size=5), st.text() | st.integers(2**53, 2**70))
def test_values_without_a_fixed_layout_are_refused(values, other):
    assert request_state.pack_values([*values, other]) is None


@given(numbers, moments, st.none() | st.floats(0, 1), numbers, moments, st.integers(0, 2**32 - 1))
def test_fixed_layouts_read_as_the_general_form(value, ts, score, label, label_ts, context):
    predicted = opened([value], context, ts, [score])
    known = early([label], label_ts)
    made = KeptPrediction(context, ts, value, score)
    said = [] if label is None else [Statement("", label, label_ts, 3)]
    for form, table, entry in (
        (OPEN, predicted, RequestState([made])),
        (EARLY, known, RequestState([], said)),
        (JOINED, request_state.joined(predicted, known), RequestState([made], said)),
    ):
        (raw,) = request_state.raws(form, table)
        assert request_state.decode(raw) == entry
        assert request_state.decode(request_state.encode(raw[:4], entry)) == entry
        assert request_state.rows(form, [raw]).tobytes() == raw


def test_seconds_sort_as_bytes():
    seconds = [sortable_second(ts) for ts in (-1.0, 0.0, 255.9, 256.0, 1.7e9, 1e12)]
    assert seconds == sorted(seconds)


def test_an_entry_without_a_fixed_layout_is_decoded_as_encoded():
    entry = RequestState(
        [KeptPrediction(1, 2.0, "b", None, {"a": 0.5, "b": None})],
        [Statement("", "b", 3.0, 4), Statement("revenue", 1.5, 3.0, 4, "churn")],
        5,
    )
    raw = request_state.encode(request_state.UNDATED, entry)
    assert request_state.decode(raw) == entry
    with pytest.raises(msgspec.ValidationError):
        request_state.decode(b"\0\0\0\0\0" + msgspec.msgpack.encode({"not": "an entry"}))
