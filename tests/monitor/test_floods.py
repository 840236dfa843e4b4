"""Producers that invent names without end: what is kept, published and shown stays within the documented bounds, all events
count all the same, and the excess is counted and told."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from support.events import START, prediction
from tidegauge.engine.events import MAX_FEATURES
from tidegauge.engine.stage import DEAD_LETTERS, METRICS, PREDICTIONS
from tidegauge.join.contexts import MAX_SEGMENT_VALUES, MAX_VERSIONS
from tidegauge.models.registry import DEFAULTS_KEPT
from tidegauge.prometheus.scrape_bound import scrape
from tidegauge.prometheus.window_samples import window_samples

EVENTS = 3000
WIDE = replace(SPEC, windows=("1m",))


def flooded(**invented: Any) -> Pipeline:
    """A pipeline that has read EVENTS predictions of one minute, in each of which ``invented`` has put something new."""
    pipeline = Pipeline(WIDE)
    for begin in range(0, EVENTS, 500):
        values = []
        for number in range(begin, begin + 500):
            event = prediction(number, START + number * 60 / EVENTS, prediction=1, score=0.7)
            values.append(json.dumps(event | {name: make(number) for name, make in invented.items()}).encode())
        pipeline.send(PREDICTIONS, values)
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline


def newest(pipeline: Pipeline) -> list[dict[str, Any]]:
    """The last revision of each record of the flooded window."""
    found = {output.key: json.loads(output.value) for output in pipeline.outputs if output.topic == METRICS and output.value}
    return [record for record in found.values() if "kind" not in record]


def whole(records: list[dict[str, Any]]) -> dict[str, Any]:
    (record,) = (record for record in records if not record["segment"])
    return record


def test_many_segment_values_are_counted_together() -> None:
    records = newest(flooded(segments=lambda number: {"region": f"r{number}"}))
    counts = {record["segment"]["region"]: record["predictions"] for record in records if record["segment"]}
    assert len(counts) == MAX_SEGMENT_VALUES + 1
    assert counts["__other__"] == EVENTS - MAX_SEGMENT_VALUES
    assert sum(counts.values()) == whole(records)["predictions"] == EVENTS


def test_too_many_versions_become_dead_letters() -> None:
    pipeline = flooded(model_version=lambda number: f"churn:{number}")
    letters = [output for output in pipeline.outputs if output.topic == DEAD_LETTERS]
    assert Counter(dict(letter.headers)["reason"] for letter in letters) == {b"too_many_versions": EVENTS - MAX_VERSIONS}
    assert pipeline.counters["dead_lettered", "too_many_versions"] == EVENTS - MAX_VERSIONS
    assert {record["predictions"] for record in newest(pipeline)} == {1}
    assert len(newest(pipeline)) == MAX_VERSIONS


def test_too_many_models_become_dead_letters() -> None:
    """Of which nobody has said a word: each is a model of its own, and a version of it counts as one of all."""
    pipeline = flooded(model=lambda number: f"m{number}", model_version=lambda number: "1")
    letters = [output for output in pipeline.outputs if output.topic == DEAD_LETTERS]
    assert Counter(dict(letter.headers)["reason"] for letter in letters) == {b"too_many_versions": EVENTS - MAX_VERSIONS}
    assert len({record["model"] for record in newest(pipeline)}) == MAX_VERSIONS


def test_specs_of_models_that_nobody_has_described_are_not_kept_without_end() -> None:
    pipeline = Pipeline(WIDE)
    for begin in range(0, DEFAULTS_KEPT + 5000, 5000):
        events = [prediction(number, START, model=f"m{number}", prediction=1) for number in range(begin, begin + 5000)]
        pipeline.send(PREDICTIONS, [json.dumps(event).encode() for event in events])
    assert pipeline.counters["dead_lettered", "too_many_versions"] == DEFAULTS_KEPT + 5000 - MAX_VERSIONS
    assert len(pipeline.registry._defaults) <= DEFAULTS_KEPT
    assert len(pipeline.joins[0]._specs) <= DEFAULTS_KEPT


def test_many_features_are_bounded_and_told() -> None:
    pipeline = flooded(features=lambda number: {"age": 40.0, f"f{number}": 1.0})
    record = whole(newest(pipeline))
    assert record["predictions"] == EVENTS
    assert record["data"]["features"]["age"]["count"] == EVENTS
    # The commonest is never pushed out, and the excess is counted.
    assert len(record["data"]["features"]) == MAX_FEATURES
    assert record["data"]["unexpected_features"]


def test_many_attributions_are_bounded() -> None:
    record = whole(newest(flooded(attributions=lambda number: {"age": 0.5, f"f{number}": 0.1})))
    assert record["predictions"] == EVENTS
    assert len(record["attributions"]) == MAX_FEATURES
    assert record["attributions"]["age"]["mean_abs"] == pytest.approx(0.5)


def test_many_categories_do_not_enlarge_the_record() -> None:
    record = whole(newest(flooded(features=lambda number: {"plan": f"p{number}"})))
    assert record["predictions"] == EVENTS
    assert record["data"]["features"]["plan"]["count"] == EVENTS
    assert len(json.dumps(record)) < 20_000


def rank(record: dict[str, Any]) -> tuple[bool, int]:
    return bool(record["segment"]), -record["predictions"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=40), st.integers(0, 60))
def test_a_scrape_is_bounded_and_shows_whole_models_first(windows: list[tuple[bool, int]], most: int) -> None:
    records = [
        {"model": "m", "model_version": str(number), "window": "1m", "segment": {"region": "eu"} if part else {},
         "predictions": count, "coverage": 0.5}
        for number, (part, count) in enumerate(windows)
    ]  # fmt: skip
    shown, left_out = scrape(records, most)
    assert len(shown) == min(2 * len(records), most - most % 2)
    assert left_out == len(records) - len(shown) // 2
    versions = {sample.labels["model_version"] for sample in shown}
    order = sorted(records, key=lambda record: (bool(record["segment"]), -record["predictions"]))
    assert [rank(record) for record in order[: len(versions)]] == sorted(
        rank(record) for record in records if record["model_version"] in versions
    )
    assert {(s.name, s.labels["model_version"]) for s in shown} <= {
        (s.name, s.labels["model_version"]) for record in records for s in window_samples(record)
    }


@pytest.mark.parametrize("samples", [0, 1])
def test_a_window_is_never_shown_in_part(samples: int) -> None:
    record = {"model": "m", "model_version": "1", "window": "1m", "segment": {}, "predictions": 3, "coverage": 0.5}
    assert scrape([record], samples) == ([], 1)
