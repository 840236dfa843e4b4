"""A population that changes: the mix of segments against the baseline's, its p-value, alerts and their evidence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import chi2_contingency, kstest

from support.driver import Pipeline
from support.schemas import mistakes
from tidegauge.engine.stage import ALERTS, PREDICTIONS
from tidegauge.metrics.distance import psi
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.offline.reference import build
from tidegauge.spec import BaselineSpec, Condition, ModelSpec, MonitorSpec

MIX = MonitorSpec("mix", "data.segments.*.psi", "1m", Condition("above", high=0.1))
SPEC = ModelSpec("m", task="binary", segments=(("region",), ("region", "device")), windows=("1m",), grace=0.0,
                 monitors=(MIX,), baseline=BaselineSpec(file="reference"))  # fmt: skip
REGIONS = ("eu", "us", "asia", None)
SHARES = (0.5, 0.3, 0.15, 0.05)


def events(random: np.random.Generator, minute: int, count: int, shares: Any = SHARES) -> list[dict[str, Any]]:
    made = []
    for i, region in enumerate(random.choice(np.array(REGIONS, object), count, p=shares)):
        segments = {"device": "ab"[i % 2]} | ({"region": region} if region else {})
        made.append({"request_id": f"{minute}-{i}", "ts": 60.0 * minute + 60 * i / count, "score": 0.5, "model_version": "m:1",
                     "segments": segments})  # fmt: skip
    return made


def raw(events: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def pipeline_of(path: Path, spec: ModelSpec, before: list[dict[str, Any]]) -> Pipeline:
    file = path / "reference.jsonl"
    file.write_bytes(b"\n".join(raw(before)))
    pipeline = Pipeline(spec)
    baseline = msgspec.Raw(build(spec, "m:1", file).to_json())
    pipeline.registry.apply(b"m", encode(ModelRecord("m", spec, {"m:1": baseline})))
    return pipeline


def counted(events: list[dict[str, Any]]) -> list[int]:
    regions = [event["segments"].get("region") for event in events]
    return [regions.count(region) for region in REGIONS]


def test_the_mix_is_that_of_numpy_and_scipy_and_alerts_with_evidence(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    before, same = events(random, 1, 4000), events(random, 1, 2000)
    moved = events(random, 2, 2000, (0.25, 0.3, 0.4, 0.05))
    pipeline = pipeline_of(tmp_path, SPEC, before)
    for made in (same, moved):
        pipeline.send(PREDICTIONS, raw(made))
        pipeline.checkpoint()
    pipeline.finish()
    whole = sorted((r for r in pipeline.records().values() if not r["segment"]), key=lambda r: str(r["window_start"]))
    assert all("segments" not in r["data"] for r in pipeline.records().values() if r["segment"])
    assert [m for r in whole for m in mistakes("metrics-record", r)] == []
    assert [m for a in pipeline.of(ALERTS) for m in mistakes("alert", a)] == []
    for record, made in zip(whole, (same, moved), strict=True):
        of = record["data"]["segments"]["region"]
        now, then = np.array(counted(made)), np.array(counted(before))
        assert of["psi"] == pytest.approx(psi(now, then))
        assert of["p_value"] == pytest.approx(chi2_contingency([now, then], correction=False).pvalue, rel=1e-6)
        assert set(record["data"]["segments"]) == {"region", "region+device"}
    (alert,) = (a["data"] for a in pipeline.of(ALERTS) if a["data"]["labels"]["metric"] == "region")
    assert alert["window"]["start"] == "1970-01-01T00:02:00Z"
    assert alert["p_value"] < 1e-6
    first = alert["evidence"]["segments"][0]
    assert first["segment"] == {"region": "asia"}
    assert (first["value"], first["baseline"]) == (counted(moved)[2] / 2000, counted(before)[2] / 4000)


def test_values_the_baseline_does_not_know_count_together(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    pipeline = pipeline_of(tmp_path, SPEC, events(random, 1, 2000))
    made = events(random, 1, 1000)
    for i, event in enumerate(made[:400]):
        event["segments"]["region"] = f"new-{i}"
    pipeline.send(PREDICTIONS, raw(made))
    pipeline.finish()
    (record,) = (r for r in pipeline.records().values() if not r["segment"])
    assert record["data"]["segments"]["region"]["psi"] > 0.3


def test_auto_takes_the_limit_from_the_reference_windows(tmp_path: Path) -> None:
    """A mix that swings from window to window in the reference does not alert when it swings as usual."""
    monitor = MonitorSpec("mix", "data.segments.region.psi", "1m", Condition("above", auto=True))
    spec = ModelSpec("m", task="binary", segments=(("region",),), windows=("1m",), grace=0.0, monitors=(monitor,),
                     baseline=BaselineSpec(file="reference"))  # fmt: skip
    random = np.random.default_rng(3)

    def minute(number: int, swing: float) -> list[dict[str, Any]]:
        return events(random, number, 500, (0.5 + swing, 0.3 - swing, 0.15, 0.05))

    before = [event for number in range(1, 21) for event in minute(number, 0.15 * (-1) ** number)]
    pipeline = pipeline_of(tmp_path, spec, before)
    for number, swing in ((1, -0.15), (2, 0.15), (3, 0.29)):
        pipeline.send(PREDICTIONS, raw(minute(number, swing)))
        pipeline.checkpoint()
    pipeline.finish()
    assert [a["data"]["window"]["start"][14:16] for a in pipeline.of(ALERTS)] == ["03"]


def test_p_values_are_uniform_while_the_mix_is_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    pipeline = pipeline_of(tmp_path, SPEC, events(random, 1, 20_000))
    for minute in range(1, 41):
        pipeline.send(PREDICTIONS, raw(events(random, minute, 300)))
        pipeline.checkpoint()
    pipeline.finish()
    p = [r["data"]["segments"]["region"]["p_value"] for r in pipeline.records().values() if not r["segment"]]
    assert len(p) == 40
    assert kstest(p, "uniform").pvalue > 0.001
    assert not pipeline.of(ALERTS)
