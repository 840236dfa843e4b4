"""Attributions through the whole pipeline: against plain numpy, whatever the chunks, and nothing where there are none."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from support.driver import Pipeline, flatten, numbers
from support.schemas import mistakes
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.stage import ALERTS, PREDICTIONS
from tidegauge.metrics.attributions import ranking
from tidegauge.metrics.distance import psi
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.offline.reference import build
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

MONITORS = (
    MonitorSpec("reasons", "attributions.*.psi", "1m", Condition("above", high=0.2)),
    MonitorSpec("top", "attribution_ranking.left_top", "1m", Condition("above", high=0)),
    MonitorSpec("order", "attribution_ranking.rank_correlation", "1m", Condition("below", low=0.5)),
)
SPEC = ModelSpec("m", task="binary", segments=(("region",),), windows=("1m",), grace=0.0, monitors=MONITORS,
                 baseline=BaselineSpec(file="reference"))  # fmt: skip
FEATURES = ("age", "city.code", "income", "plan", "tenure", "usage")
SCALES = np.array([3.0, 2.0, 1.5, 1.0, 0.5, 0.1])


def events(random: np.random.Generator, minute: int, values: Any, explained: float = 1.0) -> list[dict[str, Any]]:
    made = []
    for i, row in enumerate(values):
        event: dict[str, Any] = {"request_id": f"{minute}-{i}", "ts": 60.0 * minute + 60 * i / len(values), "score": 0.5,
                                 "model_version": "m:1", "segments": {"region": "en"[i % 2]}}  # fmt: skip
        if random.random() < explained:
            event["attributions"] = dict(zip(FEATURES, row.tolist(), strict=True))
        made.append(event)
    return made


def drawn(random: np.random.Generator, count: int, scales: Any = SCALES) -> Any:
    return random.normal(size=(count, len(FEATURES))) * scales


def raw(events: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def reference(path: Path, values: Any) -> Baseline:
    file = path / "reference.jsonl"
    file.write_bytes(b"\n".join(raw(events(np.random.default_rng(0), 1, values))))
    return build(SPEC, "m:1", file)


def with_baseline(baseline: Baseline) -> Pipeline:
    pipeline = Pipeline(SPEC)
    pipeline.registry.apply(b"m", encode(ModelRecord("m", SPEC, {"m:1": msgspec.Raw(baseline.to_json())})))
    return pipeline


def whole(pipeline: Pipeline) -> list[dict[str, Any]]:
    found = [record for record in pipeline.records().values() if not record["segment"]]
    return sorted(found, key=lambda record: str(record["window_start"]))


def test_mean_and_psi_are_those_of_numpy(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    before, after = drawn(random, 5000), drawn(random, 3000, SCALES * [1, 1, 1, 1, 1, 30])
    pipeline = with_baseline(reference(tmp_path, before))
    for chunk in range(0, 3000, 700):
        pipeline.send(PREDICTIONS, raw(events(random, 1, after)[chunk : chunk + 700]))
        pipeline.checkpoint()
    pipeline.finish()
    (record,) = whole(pipeline)
    assert mistakes("metrics-record", record) == []
    for f, name in enumerate(FEATURES):
        of = record["attributions"][name]
        assert of["count"] == 3000
        assert of["mean_abs"] == pytest.approx(np.abs(after[:, f]).mean())
        edges = np.quantile(before[:, f], np.arange(11) / 10)
        edges[0], edges[-1] = -np.inf, np.inf
        # The baseline's range has bins of its own beyond it.
        inside = [np.histogram(x[(x >= before[:, f].min()) & (x <= before[:, f].max())], edges)[0]
                  for x in (after[:, f], before[:, f])]  # fmt: skip
        beyond = [[np.sum(x < before[:, f].min()), np.sum(x > before[:, f].max())] for x in (after[:, f], before[:, f])]
        expected = psi(*(np.append(inside[i], [*beyond[i], 0]) for i in (0, 1)))
        assert of["psi"] == pytest.approx(expected, rel=1e-6)
    assert record["attribution_ranking"]["entered_top"] == ["usage"]
    assert record["attribution_ranking"]["left_top"] == ["tenure"]
    correlation = spearmanr(np.abs(before).mean(0), np.abs(after).mean(0)).statistic
    assert record["attribution_ranking"]["rank_correlation"] == pytest.approx(correlation)
    alerts = {(a["data"]["labels"]["alertname"], a["data"]["metric"]) for a in pipeline.of(ALERTS)}
    assert alerts == {
        ("reasons", "attributions.usage.psi"), ("top", "attribution_ranking.left_top"),
        ("order", "attribution_ranking.rank_correlation"),
    }  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 60), st.floats(0, 1))
def test_any_chunking_gives_the_same_record(seed: int, partitions: int, chunk: int, explained: float) -> None:
    """Also where only some events carry attributions, and not of every feature."""
    generator = np.random.default_rng(seed)
    made = events(generator, 1, drawn(generator, 150), explained)
    for event in made:
        for name in FEATURES:
            if "attributions" in event and generator.random() < 0.1:
                event["attributions"][name] = None

    def run(made: list[dict[str, Any]], partitions: int, chunk: int) -> dict[bytes, dict[str, Any]]:
        pipeline = Pipeline(SPEC, partitions)
        for start in range(0, len(made), chunk):
            pipeline.send(PREDICTIONS, raw(made[start : start + chunk]))
            pipeline.checkpoint()
        pipeline.finish()
        return {key: flatten(numbers(record)) for key, record in pipeline.records().items()}

    expected = run(made, 1, 150)
    random.Random(seed).shuffle(made)
    found = run(made, partitions, chunk)
    assert found.keys() == expected.keys()
    for key, record in expected.items():
        assert {k for k in record if "attribution" in k} == {k for k in found[key] if "attribution" in k}
        for path, value in record.items():
            if "attribution" in path:
                assert found[key][path] == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_a_learned_baseline_learns_attributions_too() -> None:
    pipeline = Pipeline(ModelSpec("m", task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(first=2000)))
    generator = np.random.default_rng(2)
    for minute in range(1, 5):
        scales = SCALES if minute < 4 else SCALES[::-1]
        # Events without attributions in between change nothing.
        pipeline.send(PREDICTIONS, raw(events(generator, minute, drawn(generator, 2000, scales), 0.5)))
        pipeline.checkpoint()
    pipeline.finish()
    last = whole(pipeline)
    assert {name: of["psi"] < 0.1 for name, of in last[2]["attributions"].items()} == dict.fromkeys(FEATURES, True)
    assert last[2]["attribution_ranking"] == {"entered_top": [], "left_top": [], "rank_correlation": 1.0}
    assert all("bins" not in of for of in last[2]["attributions"].values()), "exact from the second window on"
    assert last[3]["attribution_ranking"]["rank_correlation"] == pytest.approx(-1.0)
    assert last[3]["attributions"]["age"]["psi"] > 0.5
    assert last[3]["attributions"]["age"]["p_value"] < 1e-6


def test_without_attributions_nothing_is_said_or_kept() -> None:
    pipeline = Pipeline(ModelSpec("m", task="binary", windows=("1m",), grace=0.0))
    generator = np.random.default_rng(3)
    pipeline.send(PREDICTIONS, raw(events(generator, 1, drawn(generator, 100), 0.0)))
    pipeline.finish()
    for record in pipeline.records().values():
        assert not [name for name in record if "attribution" in name]


def test_attributions_the_baseline_does_not_know_are_averaged_only(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    file = tmp_path / "reference.jsonl"
    file.write_bytes(b"\n".join(raw(events(generator, 1, drawn(generator, 200), 0.0))))
    pipeline = with_baseline(build(SPEC, "m:1", file))
    values = drawn(generator, 500)
    pipeline.send(PREDICTIONS, raw(events(generator, 1, values)))
    pipeline.finish()
    (record,) = whole(pipeline)
    assert record["attributions"]["age"] == {"count": 500, "mean_abs": pytest.approx(np.abs(values[:, 0]).mean())}
    assert "attribution_ranking" not in record


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    baseline = reference(tmp_path, drawn(np.random.default_rng(5), 300))
    assert mistakes("baseline", json.loads(baseline.to_json())) == []
    again = Baseline.from_json(baseline.to_json())
    assert again.to_json() == baseline.to_json()
    assert again.schema.attributions == FEATURES
    assert again.data.attributions.mean_abs() == baseline.data.attributions.mean_abs()


@given(st.dictionaries(st.sampled_from(FEATURES), st.floats(0.01, 10), min_size=1))
def test_ranking_of_itself_has_not_changed(means: dict[str, float]) -> None:
    found = ranking(means, dict(means))
    assert found["entered_top"] == found["left_top"] == []
    assert found.get("rank_correlation", 1.0) == pytest.approx(1.0)
