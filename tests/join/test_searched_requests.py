"""Losses by ranges of features: those of a batch group-by, whatever happens to the labels and in whatever order events come."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import SPEC, Pipeline
from support.events import START, prediction, stream
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import ProfileDelta, decode
from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES, MemoryStore, Record
from tidegauge.join import searched_requests
from tidegauge.join.columns import data_columns
from tidegauge.join.request_state import KeptPrediction, RequestState, encode
from tidegauge.join.searched_requests import SEARCHED, SearchedRequests, sampled
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import ModelRecord
from tidegauge.models.registry import encode as encode_record
from tidegauge.offline.reference import build
from tidegauge.profile.range_losses import UNITS, sums_of
from tidegauge.spec import BaselineSpec, ModelSpec

WATCHED = msgspec.structs.replace(SPEC, baseline=BaselineSpec(file="churn.baseline.json"))


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    """A baseline of a reference in which every prediction is labelled."""
    rng = random.Random(1)
    rows = []
    for topic, value in stream(1, 500):
        event = json.loads(value)
        if topic == PREDICTIONS and event["model_version"] == "churn_xgb:3":
            rows.append(json.dumps(event | {"label": int(rng.random() < event["score"])}))
    path = tmp_path_factory.mktemp("reference") / "reference.jsonl"
    path.write_text("\n".join(rows))
    return build(WATCHED, "churn_xgb:3", path)


def piped(baseline: Baseline, share: float, partitions: int = 1) -> Pipeline:
    pipeline = Pipeline(None, partitions)
    give(pipeline, baseline, share)
    return pipeline


def give(pipeline: Pipeline, baseline: Baseline, share: float) -> None:
    said = msgspec.json.decode(baseline.to_json()) | {"searched_share": share}
    record = ModelRecord(WATCHED.model, WATCHED, {"": msgspec.Raw(msgspec.json.encode(said))})
    pipeline.registry.apply(WATCHED.model.encode(), encode_record(record))


def tables(pipeline: Pipeline, baseline: Baseline) -> pd.DataFrame:
    """The sums, in whole units, by window, version, feature and range, as the monitor's windows have them."""
    windows, rows = pipeline.monitor.windows, []
    for header in windows.headers.values():
        for segment in header.segments:
            assert not segment or not windows.outcome(header, segment).ranges
        ranges = windows.outcome(header, ()).ranges
        assert set(ranges) <= {baseline.ranges.id}
        for table in ranges.values():
            labels, loss, squares = sums_of(table)
            for f, r in zip(*np.nonzero(labels), strict=True):
                name = baseline.ranges.features[f].name
                sums = (labels[f, r], loss[f, r] * UNITS, squares[f, r] * UNITS)
                rows.append((header.window, header.start, header.version, name, int(r), *map(int, sums)))
    return frame(rows)


def frame(rows: Any) -> pd.DataFrame:
    names = ["window", "start", "version", "feature", "range", "labels", "loss", "squares"]
    return pd.DataFrame(rows, columns=names).sort_values(names[:5]).reset_index(drop=True)


def batch(events: list[tuple[str, bytes]], baseline: Baseline, share: float) -> pd.DataFrame:
    """The same sums by pandas, from the first prediction of each request and version, and its latest label."""
    decoded = [(topic, json.loads(value)) for topic, value in events]
    made = pd.DataFrame([event for topic, event in decoded if topic == PREDICTIONS])
    said = pd.DataFrame([event for topic, event in decoded if topic == LABELS])
    made = made.drop_duplicates(["request_id", "model_version"])
    ids = [name.encode() for name in made["request_id"]]
    made = made.iloc[sampled(ids, share)]
    said = said.sort_values("ts").drop_duplicates("request_id", keep="last")[["request_id", "label"]]
    rows = made.merge(said, on="request_id")
    loss = (rows["score"] - rows["label"]) ** 2
    rows["labels"], rows["loss"], rows["squares"] = 1, np.rint(loss * UNITS).astype(int), np.rint(loss**2 * UNITS).astype(int)
    parts = []
    for window, length in (("1m", 60.0), ("5m", 300.0)):
        for feature in baseline.ranges.features:
            values = pd.Series([of[feature.name] for of in rows["features"]])
            if feature.edges is None:
                places = {value: place for place, value in enumerate(feature.values, 1)}
                where = values.map(lambda value, known=places: known.get(value, len(known) + 1))
            else:
                edges = [-np.inf, *feature.edges.tolist(), np.inf]
                where = pd.cut(values.astype(float), edges, right=False, labels=False).add(1).fillna(0)
            named = rows.assign(
                window=window, start=rows["ts"] // length * length, version=rows["model_version"], feature=feature.name,
                range=where.astype(int).to_numpy(),
            )  # fmt: skip
            parts.append(named.groupby(["window", "start", "version", "feature", "range"])[["labels", "loss", "squares"]].sum())
    return frame(pd.concat(parts).reset_index().to_numpy().tolist())


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6), count=st.sampled_from([40, 600]), partitions=st.integers(1, 3),
    chunk=st.sampled_from([3, 20, 200]), share=st.sampled_from([1.0, 0.4]),
)  # fmt: skip
def test_the_sums_are_those_of_a_batch(
    baseline: Baseline, seed: int, count: int, partitions: int, chunk: int, share: float
) -> None:
    rng = random.Random(seed)
    # Of 600 in half a minute profiles are made, of fewer the rows are passed on.
    events = stream(seed, count, 0.5 if count > 500 else 3.0)
    again = [event for event in events if rng.random() < 0.1]
    shuffled = sorted(events + again, key=lambda event: json.loads(event[1])["ts"] + rng.random() * 40)
    pipeline = piped(baseline, share, partitions)
    half = len(shuffled) // 2
    for part in (shuffled[:half], shuffled[half:]):
        for start in range(0, len(part), chunk):
            for topic in (PREDICTIONS, LABELS):
                if values := [value for kind, value in part[start : start + chunk] if kind == topic]:
                    pipeline.send(topic, values)
            if rng.random() < 0.5:
                pipeline.checkpoint(rng.randrange(partitions))
        # Both stages begin again with what they have stored.
        pipeline.checkpoint()
        counters = pipeline.counters
        pipeline.joins = [JoinStage(p, of._store, pipeline.registry, 1, counters) for p, of in enumerate(pipeline.joins)]
        pipeline.restart_monitor()
    pipeline.finish()
    expected = batch(events, baseline, share)
    assert len(expected)
    pd.testing.assert_frame_equal(tables(pipeline, baseline), expected, check_dtype=False)
    # A request that is forgotten leaves its counts, and nothing that names it.
    names = [f"r{number}" for number in range(count)]
    asked = [json.dumps({"request_id": name, "ts": START + 900, "forget": True}).encode() for name in names]
    pipeline.send(LABELS, asked)
    pipeline.finish()
    assert not [key for join in pipeline.joins for key, _ in join._store.scan(SEARCHED)]
    pd.testing.assert_frame_equal(tables(pipeline, baseline), expected, check_dtype=False)


def test_the_sums_of_profiles_are_those_of_a_batch(baseline: Baseline) -> None:
    """Many labels at once, of which profiles are made already where they are joined; some are corrected."""
    made = [event for event in stream(5, 3000, 0.5) if event[0] == PREDICTIONS]
    labels = [{"request_id": f"r{number}", "ts": START + 65, "label": number % 2} for number in range(3000)]
    corrected = [label | {"ts": START + 66, "label": 1} for label in labels[::2]]
    events = [*made, *((LABELS, json.dumps(label).encode()) for label in (*labels, *corrected))]
    pipeline = piped(baseline, 1.0)
    for topic in (PREDICTIONS, LABELS):
        pipeline.send(topic, [value for kind, value in events if kind == topic])
    outputs = pipeline.joins[0].checkpoint(0.0)
    parts = [part for output in outputs for part in decode(output.value or b"").parts]
    assert [part for part in parts if isinstance(part, ProfileDelta) and part.outcome is not None]
    pipeline.monitor.process(PROFILES, [Record(0, -1, output.key, output.value) for output in outputs])
    pipeline.finish()
    pd.testing.assert_frame_equal(tables(pipeline, baseline), batch(events, baseline, 1.0), check_dtype=False)


def test_nothing_is_kept_of_a_request_that_is_forgotten_before_it_was_counted(baseline: Baseline) -> None:
    pipeline = piped(baseline, 1.0)
    pipeline.send(PREDICTIONS, [json.dumps(prediction(n, START, score=0.5, features={"age": 1})).encode() for n in (1, 2)])
    pipeline.send(LABELS, [json.dumps({"request_id": "r1", "ts": START + 1, "forget": True}).encode()])
    pipeline.checkpoint()
    assert [key for key, _ in pipeline.joins[0]._store.scan(SEARCHED)] == [b"gr2"]


def test_codes_expire_with_their_request(baseline: Baseline) -> None:
    pipeline = piped(baseline, 1.0)
    pipeline.send(PREDICTIONS, [json.dumps(prediction(1, START, score=0.5, features={"age": 1})).encode()])
    pipeline.checkpoint()
    join = pipeline.joins[0]
    assert not join.expired(dict(join._store.scan(b"")))
    pipeline.send(PREDICTIONS, [json.dumps(prediction(2, START + 9 * 86400, score=0.5, features={"age": 1})).encode()])
    pipeline.checkpoint()
    for key in (first := join.expired(dict(join._store.scan(b"")))):
        join._store.delete(key)
    assert b"rr1" in first
    assert b"gr1" in {*first, *join.expired(dict(join._store.scan(b"")))}
    assert b"gr2" not in join.expired(dict(join._store.scan(b"")))


def test_codes_of_another_baseline_are_dropped(baseline: Baseline) -> None:
    pipeline = piped(baseline, 1.0)
    events = [prediction(n, START + n, prediction=1, score=0.5, features={"age": 30 + n, "plan": "a"}) for n in range(9)]
    pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
    pipeline.checkpoint()
    other = Baseline.from_json(baseline.to_json())
    other.metrics = {}
    other.data.categories["plan"].counts = {"z": 1}
    assert other.ranges.id != baseline.ranges.id
    give(pipeline, other, 1.0)
    pipeline.send(LABELS, [json.dumps({"request_id": f"r{n}", "ts": START + 20, "label": 1}).encode() for n in range(9)])
    pipeline.finish()
    assert not len(tables(pipeline, baseline))


def test_a_learned_baseline_without_labels_has_nothing_coded() -> None:
    pipeline = Pipeline(ModelSpec("churn", task="binary", windows=("1m",), baseline=BaselineSpec(first=100)))
    for topic, value in stream(3, 400, 3.0):
        pipeline.send(topic, [value])
        pipeline.checkpoint()
    assert pipeline.registry.baseline("churn", "churn_xgb:3") is not None
    assert not list(pipeline.joins[0]._store.scan(SEARCHED))


def test_a_read_baseline_has_the_same_ranges_and_losses(baseline: Baseline) -> None:
    read = Baseline.from_json(baseline.to_json())
    assert read.ranges.id == baseline.ranges.id
    assert 0 < read.searched_share == baseline.searched_share < 1
    table, other = (of.outcome.ranges[baseline.ranges.id] for of in (read, baseline))
    assert table.pack() == other.pack()
    labels = sums_of(table).labels.sum(axis=1)
    assert labels[: len(baseline.ranges.features)].tolist() == [baseline.outcome.labels] * len(baseline.ranges.features)


def test_two_versions_of_a_request_have_codes_of_their_own(baseline: Baseline) -> None:
    store = MemoryStore()
    store.put(b"rx", encode(b"\0\0\0\0", RequestState([KeptPrediction(0, START, 1, 0.5), KeptPrediction(1, START, 1, 0.5)])))
    searched = SearchedRequests(store)
    pipeline = piped(baseline, 1.0)
    known = pipeline.registry.baseline("churn", "churn_xgb:3")
    assert known is not None
    for context, age in ((0, -1000.0), (1, 1000.0), (1, 1000.0)):
        event = prediction(1, START, score=0.5, features={"age": age}) | {"request_id": "x"}
        events, _, _ = Decoder(Prediction).chunk([Record(0, -1, None, json.dumps(event).encode())])
        searched.note(data_columns(events, WATCHED, known.schema), [context], START, known)
    place = [of.name for of in known.ranges.features].index("age")
    found = [searched.codes([b"x"], np.array([context]), known) for context in (0, 1, 2)]
    assert [[int(code) for code in of.codes[:, place]] for of in found if of is not None] == [
        [1], [known.ranges.features[place].size() - 1], [],
    ]  # fmt: skip


def test_of_far_more_requests_than_the_reference_has_a_smaller_share_is_kept(
    baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searched_requests, "HALVED_EVERY", 500)
    pipeline = piped(baseline, 1.0)
    kept = []
    for day, number in ((0, 0), (0, 1000), (0, 2000), (1, 3000), (1, 4000)):
        events = [prediction(number + n, START + day * 86400, score=0.5, features={"age": 1}) for n in range(1000)]
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
        pipeline.checkpoint()
        kept.append(len(list(pipeline.joins[0]._store.scan(SEARCHED))))
    # All of the day's first thousand, then a quarter, then (after 1,250) a quarter again; a new day begins anew.
    first, second, third, fourth, fifth = np.diff([0, *kept])
    assert (first, fourth) == (1000, 1000)
    assert [second, third, fifth] == pytest.approx([250, 250, 250], rel=0.2)


def test_a_reference_with_much_traffic_has_a_sample(tmp_path: Path) -> None:
    rows = [
        json.dumps(prediction(n, START + n * 0.01, prediction=1, score=0.5, features={"age": n % 7}) | {"label": n % 2})
        for n in range(1000)
    ]
    path = tmp_path / "reference.jsonl"
    path.write_text("\n".join(rows))
    share = build(WATCHED, "churn_xgb:3", path).searched_share
    # 100 requests a second are 8.64 million a day.
    assert share == pytest.approx(20_000 / 8.64e6, rel=0.01)
    path.write_text("\n".join(row.replace('"label": 0', '"other": 0').replace('"label": 1', '"other": 1') for row in rows))
    assert build(WATCHED, "churn_xgb:3", path).searched_share == 0.0
