"""Incidents of several models that share a column or a source are one, whatever the order they are read in."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

import tidegauge as tg
from tidegauge.incident.across_models import together
from tidegauge.metrics.record import iso

DAY = 86400.0


def incident(name: str, model: str, day: float, **more: Any) -> dict[str, Any]:
    return {
        "incident": name, "model": model, "status": "open", "title": f"trouble of {model}", "starts_at": iso(day * DAY),
        "first_window_end": iso((day + 1) * DAY), "cause": {"concern": "values"}, "features": [], "sources": [],
    } | more  # fmt: skip


def test_the_same_source_of_differently_named_features() -> None:
    (found,) = together(
        [
            incident("b", "fraud", 10.5, features=["wind"], sources=["weather"]),
            incident("a", "churn", 10, features=["temp"], sources=["weather", "crm"], status="resolved"),
        ]
    )
    assert (found.incidents, found.models) == (["a", "b"], ["churn", "fraud"])
    assert (found.features, found.sources) == ([], ["weather"])
    assert (found.title, found.status) == ("trouble of churn", "open")


def test_what_shares_nothing_is_far_apart_no_data_fault_or_taken_back_is_not_one() -> None:
    first = incident("a", "churn", 10, features=["temp"])
    for other in (
        incident("b", "fraud", 10, features=["age"]),
        incident("b", "fraud", 12, features=["temp"]),
        incident("b", "fraud", 10, features=["temp"], cause={"concern": "performance"}),
        incident("b", "fraud", 10, features=["temp"], resolution="restated"),
        incident("b", "churn", 10, features=["temp"]),
    ):
        assert together([first, other]) == []
    assert len(together([first, incident("b", "fraud", 11, features=["temp"])])) == 1


names = st.sampled_from(["temp", "wind", "age"])


@given(
    st.lists(st.tuples(st.sampled_from("mnop"), st.integers(0, 8), st.sets(names, max_size=2), st.sets(names, max_size=1)),
             max_size=12),
    st.randoms(use_true_random=False),
)  # fmt: skip
def test_the_order_does_not_matter_and_each_is_in_one_group_at_most(found: list[Any], dice: random.Random) -> None:
    incidents = [
        incident(f"{number:02}", model, day, features=sorted(features), sources=sorted(sources))
        for number, (model, day, features, sources) in enumerate(found)
    ]
    groups = together(incidents)
    dice.shuffle(incidents)
    assert together(incidents) == groups
    members = [name for group in groups for name in group.incidents]
    assert len(members) == len(set(members))
    for group in groups:
        assert len(group.models) == len(set(group.models)) == len(group.incidents) >= 2


SPEC = """
model: {model}
task: binary
windows: [1d]
grace: 0s
label_horizon: 1d
features:
  {feature}: {{source: weather}}
monitors:
  - {{name: missing, metric: data.features.*.missing_ratio, window: 1d, above: 0.3, min_count: 50}}
"""


def run(model: str, feature: str) -> Any:
    """Three days of a model whose ``feature`` is missing on the last."""
    rng = np.random.default_rng(len(model))
    n, start = 600, 1_758_931_200.0
    values = np.where(np.arange(n) < 400, rng.normal(10, 2, n), np.nan)
    predictions = pd.DataFrame(
        {
            "request_id": [f"r{i}" for i in range(n)], "ts": start + np.arange(n) * DAY / 200, "model_version": f"{model}:1",
            "prediction": rng.integers(0, 2, n), "score": rng.random(n), feature: values,
        }
    )  # fmt: skip
    spec = SPEC.format(model=model, feature=feature)
    baseline = tg.build_baseline(predictions[:300].assign(label=rng.integers(0, 2, 300)), spec)
    return tg.replay(predictions, None, spec=spec, baseline=baseline)


def test_a_source_that_ends_for_two_models_is_one_incident_from_the_events_on() -> None:
    said = []
    for model, feature in (("delays", "temp"), ("demand", "wind_speed")):
        made = run(model, feature)
        (row,) = made.incidents.itertuples()
        assert row.together == "", "of one model alone"
        said += [json.loads(o.value)["data"] for o in made._of("incidents")]
    newest = {data["incident"]: data for data in said}
    assert all(data["sources"] == ["weather"] for data in newest.values())
    (found,) = together(newest.values())
    assert sorted(found.models) == ["delays", "demand"]
    assert found.sources == ["weather"]
