"""A window's counts in its baseline's bins, against numpy on the events themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from support.events import stream
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.profile.schema import bin_codes
from tidegauge.spec import BaselineSpec


@pytest.fixture(scope="module")
def run() -> tuple[Pipeline, list[dict[str, Any]]]:
    pipeline = Pipeline(replace(SPEC, baseline=BaselineSpec(first=100)))
    events = stream(5, count=600)
    for place in range(0, len(events), 40):
        for topic, value in events[place : place + 40]:
            pipeline.send(topic, [value])
        pipeline.checkpoint()
    pipeline.finish()
    return pipeline, [json.loads(value) for topic, value in events if topic == PREDICTIONS]


def test_counts_are_those_of_the_events(run: tuple[Pipeline, list[dict[str, Any]]]) -> None:
    pipeline, events = run
    baseline = pipeline.registry.baseline("churn", "churn_xgb:3")
    assert baseline is not None
    checked = 0
    for record in pipeline.records().values():
        features = record["data"]["features"]
        if record["segment"]:
            assert all("bin_counts" not in of for of in features.values())
            continue
        if record["model_version"] != "churn_xgb:3" or record["compared_with"]["source"] == "none":
            continue
        if features["age"].get("bins") == "sketch" or record["prediction"].get("bins") == "sketch":
            continue
        start, end = (np.datetime64(record[m].rstrip("Z")).astype("datetime64[ms]").astype(float) / 1000
                      for m in ("window_start", "window_end"))  # fmt: skip
        inside = [e for e in events if start <= e["ts"] < end and e["model_version"] == "churn_xgb:3"]
        ages = np.array([np.nan if e["features"]["age"] is None else e["features"]["age"] for e in inside])
        for name, values in (("age", ages), ("score", np.array([e["score"] for e in inside]))):
            edges = baseline.schema.edges[name if name == "age" else "\x00score"]
            expected = np.bincount(bin_codes(values, edges), minlength=len(edges) + 2).tolist()
            assert (features["age"] if name == "age" else record["prediction"])["bin_counts"] == expected
        plans = [e["features"]["plan"] for e in inside]
        assert features["plan"]["bin_counts"] == [plans.count("a"), plans.count("b"), plans.count("c"), 0, 0]
        checked += 1
    assert checked >= 5
