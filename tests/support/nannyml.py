"""NannyML's own results on the data sets it ships, and the same rows as events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from support.driver import Pipeline
from tidegauge.baseline.baseline import Baseline
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.offline.reference import build
from tidegauge.spec import BaselineSpec, ModelSpec

ROOT = Path(__file__).parents[2]

FIXTURE = ROOT / "tests/fixtures/nannyml_cbpe.json"

NANNYML = json.loads(FIXTURE.read_text("utf-8"))

METRICS = ("accuracy", "precision", "recall", "f1", "roc_auc")

SPEC = ModelSpec("wfh", task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(file="reference"))


def rows(counted: list[list[float]]) -> list[tuple[float, int, int]]:
    return [(score, int(p), int(y)) for score, p, y, count in counted for _ in range(int(count))]


def event(number: int, ts: float, score: float, predicted: Any, **members: Any) -> dict[str, Any]:
    return {"request_id": f"r{number}", "ts": ts, "model_version": "wfh:1", "score": score, "prediction": predicted} | members


def baseline_of(path: Path, labelled: list[tuple[float, Any, Any]], spec: ModelSpec = SPEC) -> Baseline:
    file = path / "reference.jsonl"
    with file.open("w") as out:
        for number, (score, predicted, actual) in enumerate(labelled):
            out.write(json.dumps(event(number, 60.0, score, predicted, label=actual)) + "\n")
    return build(spec, "wfh:1", file)


def pipeline_with(baseline: Baseline, spec: ModelSpec = SPEC) -> Pipeline:
    pipeline = Pipeline(spec)
    record = ModelRecord(spec.model, spec, {"wfh:1": msgspec.Raw(baseline.to_json())})
    pipeline.registry.apply(spec.model.encode(), encode(record))
    return pipeline
