"""The same reference data make the same baseline, whatever file they come in; rows that are not the version's stay out."""

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tidegauge.errors import BaselineError, SourceError
from tidegauge.offline.reference import build
from tidegauge.offline.sources import event_lines
from tidegauge.offline.tables import EVENTS, Columns
from tidegauge.spec import FeatureSpec, ModelSpec

START = 1_758_931_200.0
ROWS = 60
FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)
COLUMNS = {
    "age": (None, st.one_of(st.none(), FINITE)),
    "count": (None, st.integers(-5, 5)),
    "rank": (None, st.one_of(st.none(), st.integers(0, 3))),
    "flag": (None, st.booleans()),
    "plan": (None, st.one_of(st.none(), st.sampled_from(["a", "Bé,\"x\"", "nan", "None", "1_000", "12e", "a;b"]))),
    "zip": ("category", st.sampled_from(["02134", "00501", "10001", "1e5", "inf"])),
    "plain_zip": (None, st.sampled_from(["02134", "10001"])),
    "grade": ("category", st.integers(1, 4)),
    "amount": ("number", st.one_of(st.none(), st.decimals(0, 1000, places=2))),
    "empty": (None, st.none()),
}  # fmt: skip


@st.composite
def tables(draw):
    """Rows of events with their label, a column at a time."""
    columns = {name: draw(st.lists(values, min_size=ROWS, max_size=ROWS)) for name, (_, values) in COLUMNS.items()}
    classes = draw(st.sampled_from([st.integers(0, 1), st.booleans(), st.sampled_from(["0", "1"])]))
    label, prediction = (draw(st.lists(classes, min_size=ROWS, max_size=ROWS)) for _ in range(2))
    score = draw(st.lists(st.floats(0, 1, allow_subnormal=False), min_size=ROWS, max_size=ROWS))
    stamps = [START + 60.0 * n for n in range(ROWS)]
    region = draw(st.lists(st.sampled_from(["eu", "07"]), min_size=ROWS, max_size=ROWS))
    given = {
        "request_id": [f"0{n}" for n in range(ROWS)],
        "ts": stamps,
        "prediction": prediction,
        "score": score,
        "label": label,
    }
    return given | {"segments.region": region, "business.revenue": columns["age"]} | columns


def spec():
    features = {name: FeatureSpec(type=declared) for name, (declared, _) in COLUMNS.items() if declared}
    return ModelSpec("m", task="binary", features=features, segments=(("region",),), windows=("5m",))


def as_jsonl(table, path):
    lines = []
    for row in zip(*table.values(), strict=True):
        event = {"model_version": "m:1", "features": {}, "segments": {}, "business": {}}
        for name, value in zip(table, row, strict=True):
            value = float(value) if isinstance(value, Decimal) else value
            group, _, rest = name.partition(".")
            if rest:
                event[group][rest] = value
            elif name in COLUMNS:
                event["features"][name] = value
            else:
                event[name] = value
        lines.append(json.dumps(event))
    path.write_text("\n".join(lines))
    return path


def as_csv(table, path, encoding="utf-8-sig"):
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


def as_parquet(table, path):
    columns = table | ({"ts": [datetime.fromtimestamp(ts, UTC) for ts in table["ts"]]} if "ts" in table else {})
    given = {name: pa.array(values) for name, values in columns.items()}
    given["plan"] = given["plan"].cast(pa.large_string()).dictionary_encode()
    parquet.write_table(pa.table(given), path)
    return path


def said(baseline):
    """A baseline without the quantile sketches, whose choice of values to keep is by chance."""
    held = json.loads(baseline.to_json())
    held.pop("profile")
    for part in held["segments"]:
        part.pop("profile")
    return held


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(table=tables(), absent=st.sampled_from([(), ("request_id",), ("request_id", "ts")]))
def test_csv_jsonl_and_parquet_make_the_same_baseline(tmp_path, table, absent):
    table = {name: values for name, values in table.items() if name not in absent}
    ways = [as_jsonl(table, tmp_path / "r.jsonl"), as_csv(table, tmp_path / "r.csv"), as_parquet(table, tmp_path / "r.parquet")]
    lines, *others = [said(build(spec(), "m:1", path)) for path in ways]
    for other in others:
        assert other == lines


def frame(rows=100, **columns):
    return pd.DataFrame({
        "x": [float(n % 9) for n in range(rows)], "ts": [START + n for n in range(rows)],
        "prediction": [n % 2 for n in range(rows)], "score": [0.5] * rows, "label": [1] * rows,
    } | columns)  # fmt: skip


def built(path, **options):
    notes = []
    baseline = build(ModelSpec("m", task="binary"), "m:1", path, note=notes.append, **options)
    return baseline, " ".join(notes)


def features(baseline):
    return {name: of["type"] for name, of in json.loads(baseline.to_json())["features"].items()}


@pytest.mark.parametrize("index", ["__index_level_0__", "customer"])
def test_an_index_of_pandas_is_no_feature_and_is_told(tmp_path, index):
    table = frame()[lambda rows: rows.x > 0]
    table.index.name = None if index.startswith("__") else index
    table.to_parquet(tmp_path / "r.parquet")
    baseline, notes = built(tmp_path / "r.parquet")
    assert set(features(baseline)) == {"x"}
    assert f"left out {index}: an index of pandas" in notes


def test_an_index_that_is_a_member_is_read(tmp_path):
    frame(request_id=[f"r{n}" for n in range(100)]).set_index("request_id").to_parquet(tmp_path / "r.parquet")
    assert b'"request_id":"r7"' in list(event_lines(tmp_path / "r.parquet", EVENTS, print))[7]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
def test_no_timestamp_is_shifted_by_the_zone_of_the_machine(tmp_path, unit, zone, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    moments = (
        pd.to_datetime(frame()["ts"], unit="s", utc=True).dt.tz_convert(zone)
        if zone
        else pd.to_datetime(frame()["ts"], unit="s")
    )
    frame(ts=moments.dt.as_unit(unit)).to_parquet(tmp_path / "r.parquet", coerce_timestamps=None)
    frame(ts=moments).to_csv(tmp_path / "r.csv", index=False)
    for path in (tmp_path / "r.parquet", tmp_path / "r.csv"):
        if zone is None:
            with pytest.raises(SourceError, match=r"has no time zone; .*--naive-timestamps utc"):
                list(event_lines(path, EVENTS, print))
        times = [json.loads(line)["ts"] for line in event_lines(path, Columns(naive_utc=zone is None), print)]
        assert times == [START + n for n in range(100)]


def test_columns_that_are_no_features(tmp_path):
    rows = 100
    table = pa.table({
        "ts": [START + n for n in range(rows)], "score": pa.array([Decimal("0.25")] * rows, pa.decimal128(10, 5)),
        "amount": pa.array([Decimal("12.50")] * rows), "day": [date(2025, 9, 1 + n % 9) for n in range(rows)],
        "nothing": pa.nulls(rows), "vector": [[1.0, 2.0]] * rows, "home": [{"lat": 1.0}] * rows,
        "segments": [{"region": "eu"}] * rows, "code": pa.array([b"x"] * rows), "label": [1] * rows,
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "r.parquet")
    baseline, notes = built(tmp_path / "r.parquet")
    assert features(baseline) == {"amount": "number", "day": "category", "nothing": "number", "code": "category"}
    assert "left out home, vector: lists or objects" in notes
    assert baseline.metrics["prediction"]["mean_score"] == 0.25
    event = json.loads(next(iter(event_lines(tmp_path / "r.parquet", EVENTS, print))))
    assert event["segments"] == {"region": "eu"}
    assert event["features"]["day"] == "2025-09-01"


def test_rows_without_a_request_id_are_numbered_over_all_files(tmp_path):
    rows = [{"score": 0.5, "features": {"x": n % 7}} for n in range(60)]
    rows += [{"request_id": "", "ts": None, "score": 0.5, "features": {"x": float("nan")}}, {"request_id": 7, "score": 0.5}]
    for part in "ab":
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        frame(50).drop(columns="ts").to_csv(tmp_path / f"{part}.csv", index=False)
    baseline, notes = built(tmp_path / "*.jsonl")
    assert (baseline.data.predictions, "left out 1 rows whose request_id was there already" in notes) == (2 * 62 - 1, True)
    baseline, notes = built(tmp_path / "*.csv")
    assert (baseline.data.predictions, notes) == (100, "")


def test_rows_of_other_versions_and_repeated_rows_stay_out(tmp_path):
    rows = [
        {"request_id": f"{version}-{n}", "ts": START + n, "model_version": version, "score": 0.5, "features": {"x": float(n)}}
        for version in ("m:1", "m:2") for n in range(100)
    ]  # fmt: skip
    labelled = [row | {"label": 1} for row in rows[:10]]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row) for row in rows + rows + labelled))
    baseline, notes = built(tmp_path / "r.jsonl")
    assert (baseline.data.predictions, baseline.outcome.labels) == (100, 10)
    assert "left out 200 rows of other versions: m:2 (200)" in notes
    assert "left out 110 rows whose request_id was there already" in notes
    with pytest.raises(BaselineError, match=r"no row is of version m:3 of m; there are m:1 \(210\), m:2 \(200\)"):
        build(ModelSpec("m", task="binary"), "m:3", tmp_path / "r.jsonl")


def test_rows_of_json_without_an_object_of_features_are_told(tmp_path):
    said = []
    rows = [{"age": number, "plan": "ab"[number % 2], "label": number % 2} for number in range(60)]
    (tmp_path / "flat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    build(ModelSpec("m"), "m:1", tmp_path / "flat.jsonl", note=said.append)
    assert [line for line in said if "no row has features, but age, plan" in line]
    said.clear()
    whole = [{"label": row.pop("label"), "features": row} for row in rows]
    (tmp_path / "whole.jsonl").write_text("".join(json.dumps(row) + "\n" for row in whole))
    build(ModelSpec("m"), "m:1", tmp_path / "whole.jsonl", note=said.append)
    assert not [line for line in said if "no row has features" in line]
