"""Scored DataFrames as events, whatever library they are of."""

from __future__ import annotations

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from support.logged import KeptLogger

COLUMNS = {
    "request_id": ["a", "b", "c"],
    "ts": [1.0, 2.0, 3.0],
    "score": [0.1, None, 0.9],
    "prediction": [0, None, 1],
    "segments.region": ["eu", "us", None],
    "age": [41, None, 30],
    "plan": ["a", "b", "c"],
}
FRAMES = [pd.DataFrame, pl.DataFrame, pa.table, dict, lambda columns: pl.DataFrame(columns).lazy()]


@pytest.mark.parametrize("make", FRAMES)
def test_rows_become_events(make):
    log = KeptLogger()
    assert log.predictions(make(COLUMNS)) == ["a", "b", "c"]
    first, second, third = log.taken()
    assert first == {
        "request_id": "a", "ts": 1.0, "model_version": "churn_xgb:3", "prediction": 0, "score": 0.1,
        "segments": {"region": "eu"}, "features": {"age": 41, "plan": "a"},
    }  # fmt: skip
    assert second["prediction"] is None
    assert "score" not in second
    assert second["features"] == {"age": None, "plan": "b"}
    assert third["segments"] == {"region": None}
    assert log.dropped == 0


@pytest.mark.parametrize("make", FRAMES)
def test_a_mapping_says_what_is_what(make):
    log = KeptLogger()
    frame = make({"p": [0.5], "region": ["eu"], "age": [41], "note": ["x"]})
    mapping = {"score": "p", "segments": ["region"], "features": ["age"]}
    (request_id,) = log.predictions(frame, model_version="m:2", mapping=mapping)
    (event,) = log.taken()
    assert event.pop("ts") > 0
    assert event == {
        "request_id": request_id, "model_version": "m:2", "score": 0.5, "segments": {"region": "eu"}, "features": {"age": 41},
    }  # fmt: skip


def test_a_column_of_times_becomes_the_events_ts():
    log = KeptLogger(max_buffer_bytes=1 << 28)
    times = pd.date_range("2025-09-27", periods=12_000, freq="s", tz="UTC")
    ids = log.predictions(pd.DataFrame({"ts": times, "x": range(12_000)}))
    events = log.taken()
    assert [event["request_id"] for event in events] == ids
    assert [event["ts"] for event in events[:2]] == [1758931200.0, 1758931201.0]
    assert [event["features"]["x"] for event in events] == list(range(12_000))


@pytest.mark.parametrize(
    ("frame", "mapping", "said"),
    [
        (3, {}, "int is no DataFrame"), ({"a": [1]}, {"scor": "a"}, "scor"), ({"a": [1]}, {"score": "b"}, "names"),
        ({"a": [1]}, {"score": ["a"]}, "one column"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(frame, mapping, said):
    with pytest.raises(ValueError, match=said):
        KeptLogger().predictions(frame, mapping=mapping)


def test_logging_waits_for_room_and_counts_what_found_none():
    log = KeptLogger(max_buffer_bytes=10_000)
    log.predictions({"x": range(20)}, timeout=0.01)
    assert log.dropped == log.counters.dropped["buffer_full"] > 0
    assert log.counters.accepted + log.dropped == 20
