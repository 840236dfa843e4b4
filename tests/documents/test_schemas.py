"""The schemas: sound themselves, true to the contract's examples and to what the program reads and writes."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from support.driver import Pipeline
from support.schemas import DIRECTORY, SCHEMAS, mistakes
from tidegauge.alert.life_cycle import SCHEMA, SOURCE
from tidegauge.engine.events import Label, Prediction
from tidegauge.engine.refusals import REASONS
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, INCIDENTS, LABELS, METRICS, MODELS, PREDICTIONS, Output
from tidegauge.errors import SpecError
from tidegauge.models.read import load_file
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.models.registry import Registry as Models
from tidegauge.offline.replay import Lines, Replay
from tidegauge.spec import BaselineSpec, Condition, DetectorSpec, ModelSpec, MonitorSpec

PREDICTION = json.loads("""
{"request_id": "6f1c…", "ts": 1758931200.25, "model": "churn", "model_version": "churn_xgb:3",
 "prediction": 1, "score": 0.83, "confidence": 0.83, "features": {"age": 41, "plan": "b", "income": null},
 "segments": {"region": "eu", "device": "ios"}, "latency_ms": 12.4, "error": null, "cost": 0.0002,
 "role": "live", "attributions": {"age": 0.31, "plan": -0.02}, "probabilities": {"a": 0.1, "b": 0.9}}
""")
RECIPE = {
    "ts": "2025-09-27T00:00:00Z", "request_id": "r", "model_version": "m:1", "features_summary": {"a": 1}, "prediction": 0.2,
    "confidence": 0.7, "latency_ms": 3.1,
}  # fmt: skip
LABEL = json.loads("""
{"request_id": "6f1c…", "ts": 1759017600.0, "label": 0, "business": {"converted": 0, "revenue": 0.0}}
""")
SPEC = yaml.safe_load("""
model: churn
task: binary
positive_label: 1
confidence_is: positive
segments: [region, device, [region, device]]
windows: [5m, 1h, 1d]
grace: 1m
label_horizon: 7d
baseline: churn_xgb-3.baseline.json
features:
  age: {type: number, min: 0, max: 120}
  plan: {type: category, values: [a, b, c]}
  email: {pii: drop}
monitors:
  - {name: feature-drift, metric: data.features.*.psi, window: 1d, above: 0.2, severity: warning}
  - {name: auc, metric: performance.roc_auc, window: 1d, below: 0.85, severity: critical, runbook: "https://…"}
  - {name: p95-latency, metric: system.latency_ms.p95, window: 5m, above: 200}
  - {name: conversion, metric: business.converted.mean, window: 1d, below_baseline: 2%}
  - {name: region-gap, metric: fairness.region.accuracy_gap, window: 1d, above: 0.05}
detectors:
  - {name: error-shift, stream: error, algorithm: adwin, parameters: {delta: 0.002}, severity: critical}
lineage: {run_id: 3f2a…, commit: 9fceb02, data_snapshot: "s3://…"}
""")
METRICS_RECORD = json.loads("""
{"model": "churn", "model_version": "churn_xgb:3", "segment": {}, "window": "1d",
 "window_start": "2025-09-27T00:00:00Z", "window_end": "2025-09-28T00:00:00Z",
 "revision": 4, "closed": true, "reason": "labels", "predictions": 10000, "labels": 6400, "coverage": 0.64,
 "expected_coverage": 0.66, "settled": false,
 "label_delay_seconds": {"p50": 3600.0, "p95": 86000.0},
 "system": {"error_ratio": 0.001, "latency_ms": {"p50": 11.0, "p95": 40.2, "p99": 77.0},
            "predictions_per_second": 0.1157, "cost": {"sum": 2.0, "mean": 0.0002}},
 "data": {"features": {"age": {"count": 10000, "missing_ratio": 0.01, "type_mismatch_ratio": 0.0,
            "out_of_range_ratio": 0.0, "unseen_ratio": 0.0, "distinct": 77, "mean": 40.1, "std": 12.2, "min": 18,
            "max": 95, "p50": 39.0, "psi": 0.013, "ks": 0.011, "js": 0.02, "wasserstein": 0.4, "p_value": 0.31}},
          "missing_features": [], "unexpected_features": ["agee"]},
 "prediction": {"mean_score": 0.31, "psi": 0.02, "ks": 0.01, "positive_ratio": 0.22, "abstain_ratio": 0.0,
                "mean_confidence": 0.71},
 "performance": {"accuracy": 0.91, "precision": 0.8, "recall": 0.7, "f1": 0.75, "roc_auc": 0.93, "log_loss": 0.3,
                 "brier": 0.08, "ece": 0.02},
 "estimated": {"accuracy": 0.9, "f1": 0.74, "roc_auc": 0.92},
 "business": {"converted": {"sum": 120.0, "mean": 0.02, "count": 6000}},
 "fairness": {"region": {"accuracy_gap": 0.03, "selection_rate_gap": 0.1, "true_positive_rate_gap": 0.02}},
 "attributions": {"age": {"mean_abs": 0.3, "psi": 0.01}}}
""")
# The contract shortens the fingerprint and the window's times with "…"; here they are written out.
ALERT = {
    "specversion": "1.0", "id": "0b5e-1", "source": SOURCE, "type": "io.tidegauge.alert.v1", "subject": "churn/churn_xgb:3",
    "time": "2025-09-28T00:01:00Z", "datacontenttype": "application/json", "dataschema": SCHEMA,
    "data": json.loads("""
{"status": "firing", "fingerprint": "0b5e0b5e0b5e0b5e0b5e0b5e0b5e0b5e", "kind": "monitor", "severity": "critical",
 "labels": {"alertname": "auc", "model": "churn", "model_version": "churn_xgb:3", "segment": "region=eu"},
 "annotations": {"summary": "…one sentence a person can act on…", "runbook_url": "https://…"},
 "starts_at": "2025-09-27T00:00:00Z", "ends_at": null, "metric": "performance.roc_auc", "value": 0.81,
 "condition": "below 0.85", "baseline": 0.9,
 "window": {"length": "1d", "start": "2025-09-27T00:00:00Z", "end": "2025-09-28T00:00:00Z", "revision": 1},
 "sample_size": 6400, "p_value": null,
 "evidence": {"segments": [{"segment": {"region": "eu"}, "value": 0.7, "share": 0.4}],
              "features": [{"feature": "age", "psi": 0.4}], "request_ids": ["6f1c…"]}}
"""),
}  # fmt: skip
EXAMPLES = [
    ("prediction", PREDICTION), ("prediction", RECIPE), ("label", LABEL), ("model-spec", SPEC),
    ("metrics-record", METRICS_RECORD), ("alert", ALERT),
]  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_sound(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"https://tidegauge.io/schemas/{name}.schema.json"
    assert schema["title"]
    assert schema["description"]


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_the_contracts_examples_fit_the_schemas(kind: str, example: Any) -> None:
    assert mistakes(kind, example) == []


def without(value: Any, path: str) -> Any:
    changed = copy.deepcopy(value)
    *way, last = path.split(".")
    owner = changed
    for name in way:
        owner = owner[name]
    del owner[last]
    return changed


def with_(value: Any, path: str, new: Any) -> Any:
    changed = copy.deepcopy(value)
    *way, last = path.split(".")
    owner = changed
    for name in way:
        owner = owner[int(name)] if isinstance(owner, list) else owner[name]
    owner[last] = new
    return changed


REFUSED_EVENTS = [
    (Prediction, without(PREDICTION, "request_id")),
    (Prediction, without(PREDICTION, "model_version")),
    (Prediction, without(PREDICTION, "ts")),
    (Prediction, with_(PREDICTION, "request_id", "")),
    (Prediction, with_(PREDICTION, "request_id", "x" * 257)),
    (Prediction, with_(PREDICTION, "ts", -1)),
    (Prediction, with_(PREDICTION, "ts", 1e12)),
    (Prediction, with_(PREDICTION, "ts", "yesterday")),
    (Prediction, with_(PREDICTION, "features", [1])),
    (Prediction, with_(PREDICTION, "segments", 7)),
    (Prediction, with_(PREDICTION, "score", "high")),
    (Prediction, [PREDICTION]),
    (Label, without(LABEL, "ts")),
    (Label, with_(without(LABEL, "label"), "business", {})),
    (Label, {"request_id": "r", "ts": 1.0, "label": None}),
    (Label, with_(LABEL, "label", [1])),
    (Label, with_(LABEL, "business", {"revenue": "much"})),
]
TAKEN_EVENTS = [
    (Prediction, PREDICTION),
    (Prediction, RECIPE),
    (Prediction, with_(PREDICTION, "more", {"of": ["it"]})),
    (Prediction, with_(PREDICTION, "features", {"age": {"nested": [1]}})),
    (Prediction, with_(PREDICTION, "segment", "eu")),
    (Prediction, without(with_(PREDICTION, "error", "timeout"), "prediction")),
    (Label, LABEL),
    (Label, without(LABEL, "business")),
    (Label, without(LABEL, "label")),
    (Label, with_(LABEL, "ts", "2025-09-27T00:00:00.5+02:00")),
]
KINDS = {Prediction: ("prediction", PREDICTIONS), Label: ("label", LABELS)}


def dead_letters(topic: str, event: Any) -> list[Output]:
    pipeline = Pipeline()
    pipeline.send(topic, [json.dumps(event).encode()])
    pipeline.checkpoint()
    return [output for output in pipeline.outputs if output.topic == DEAD_LETTERS]


@pytest.mark.parametrize(("kind", "event"), REFUSED_EVENTS)
def test_schema_and_program_refuse_the_same(kind: Any, event: Any) -> None:
    schema, topic = KINDS[kind]
    assert mistakes(schema, event)
    assert len(dead_letters(topic, event)) == 1


@pytest.mark.parametrize(("kind", "event"), TAKEN_EVENTS)
def test_schema_and_program_take_the_same(kind: Any, event: Any) -> None:
    schema, topic = KINDS[kind]
    assert mistakes(schema, event) == []
    assert dead_letters(topic, event) == []


REFUSED_OUTPUT = [
    ("metrics-record", with_(METRICS_RECORD, "more", 1)),
    ("metrics-record", with_(METRICS_RECORD, "performance.roc_auc", None)),
    ("metrics-record", with_(METRICS_RECORD, "performance.roc_acu", 0.5)),
    ("metrics-record", with_(METRICS_RECORD, "data.features.age.pis", 0.5)),
    ("metrics-record", with_(METRICS_RECORD, "window_start", 1758931200)),
    ("metrics-record", with_(METRICS_RECORD, "revision", 0)),
    ("metrics-record", with_(METRICS_RECORD, "segment", {"region": 1})),
    ("metrics-record", without(METRICS_RECORD, "settled")),
    ("alert", without(ALERT, "data")),
    ("alert", without(ALERT, "specversion")),
    ("alert", with_(ALERT, "dataschema", "https://tidegauge.io/schemas/alert.v2.json")),
    ("alert", with_(ALERT, "not-an-extension", 1)),
    ("alert", with_(ALERT, "data.status", "pending")),
    ("alert", with_(ALERT, "data.ends_at", "2025-09-28T00:00:00Z")),
    ("alert", with_(ALERT, "data.status", "resolved")),
    ("alert", with_(ALERT, "data.fingerprint", "0b5e")),
    ("alert", without(ALERT, "data.labels.model")),
    ("alert", without(ALERT, "data.evidence.segments")),
]


@pytest.mark.parametrize(("kind", "value"), REFUSED_OUTPUT)
def test_mangled_output_is_refused(kind: str, value: Any) -> None:
    assert mistakes(kind, value)


MANGLED_SPECS = [
    without(SPEC, "model"),
    with_(SPEC, "tsak", "binary"),
    with_(SPEC, "task", "ranking"),
    with_(SPEC, "windows", ["5x"]),
    with_(SPEC, "grace", 60),
    with_(SPEC, "baseline", {"first": 0}),
    with_(SPEC, "baseline", {"first": 1, "previous": "7d"}),
    with_(SPEC, "features.age.pii", "keep"),
    with_(SPEC, "kpis", {"revenue": {"winsorise": [0]}}),
    with_(SPEC, "kpis", {"revenue": {"winsorise": [0, 1], "ratio": ["a", "b"]}}),
    with_(SPEC, "monitors.0.below", 1),
    with_(SPEC, "monitors.0.above", "2%"),
    with_(SPEC, "monitors.0.for", 0),
    with_(SPEC, "monitors.0.significance", 1),
    with_(SPEC, "monitors.1.confidence", 95),
    with_(SPEC, "detectors.0.algorithm", "tea-leaves"),
    with_(SPEC, "detectors.0.parameters", {"alpha": 1}),
]


@pytest.mark.parametrize("spec", MANGLED_SPECS)
def test_schema_and_reader_refuse_the_same_specs(tmp_path: Path, spec: Any) -> None:
    assert mistakes("model-spec", spec)
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    with pytest.raises(SpecError):
        load_file(tmp_path / "churn.yaml")


GOOD_SPECS = [
    {"model": "m"},
    {"model": 7, "baseline": {"first": 10}},
    {"model": "m", "baseline": {"m:1": {"previous": "1d"}, "m:2": {"first": 10}}},
    {"model": "m", "monitors": [{"name": "a", "metric": "prediction.psi", "window": "1h", "outside": [0, 1], "for": 2,
                                 "significance": None, "segments": True}]},
    {"model": "m", "monitors": [{"name": "a", "metric": "performance.f1", "window": "1h", "below_baseline": 0.1,
                                 "settle": "6h", "confidence": 0.9}]},
    {"model": "m", "kpis": {"revenue": {"winsorise": [0, 500]}, "basket": {"ratio": ["revenue", "orders"]}}},
    {"model": "m", "detectors": [{"name": "a", "stream": "score", "algorithm": "kswin", "parameters": {"seed": 1}}]},
]  # fmt: skip


@pytest.mark.parametrize("spec", GOOD_SPECS)
def test_schema_and_reader_take_the_same_specs(tmp_path: Path, spec: Any) -> None:
    assert mistakes("model-spec", spec) == []
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(spec), "utf-8")
    load_file(tmp_path / "m.yaml")


def events(task: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Six hours of a model whose latency, errors and accuracy go wrong in the fourth and mend in the fifth."""
    dice = random.Random(3)
    predictions, labels = [], []
    for number in range(3600):
        ts = 1758931200.0 + number * 6
        bad = 3 <= number // 600 < 4
        score = dice.random()
        truth: Any = int((dice.random() < score) != bad)
        said: Any = int(score > 0.5)
        if task == "multiclass":
            truth, said = f"class {truth}", f"class {said}"
        elif task == "regression":
            truth, said = score * 10 + (5 if bad else 0), score * 10
        predictions.append({
            "request_id": str(number), "ts": ts, "model": task, "model_version": f"{task}:1", "prediction": said,
            "features": {"age": dice.gauss(40, 10), "plan": dice.choice("abc"), "late": None if bad else 1.0},
            "segments": {"region": dice.choice(["eu", "us"])}, "latency_ms": 500.0 if bad else 10 * dice.random(),
            "cost": 0.01, **({"score": score} if task == "binary" else {}),
        })  # fmt: skip
        labels.append({"request_id": str(number), "ts": ts + 300, "label": truth, "business": {"converted": number % 2}})
    return predictions, labels


def lines(path: Path, values: list[dict[str, Any]]) -> Lines:
    path.write_text("\n".join(map(json.dumps, values)), "utf-8")
    return Lines(path)


@pytest.fixture(scope="module", params=["binary", "multiclass", "regression"])
def outputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Output]:
    task = request.param
    directory = tmp_path_factory.mktemp(task)
    spec = ModelSpec(
        task, task=task, segments=(("region",),), windows=("1h",), baseline=BaselineSpec(first=500),
        monitors=(
            MonitorSpec(
                "slow", "system.latency_ms.p95", "1h", Condition("above", high=200.0), runbook="https://x", segments=True
            ),
            MonitorSpec("gone", "data.features.*.missing_ratio", "1h", Condition("above", high=0.5), min_count=50),
        ),
        detectors=(DetectorSpec("shift", "latency_ms", "adwin"),),
    )  # fmt: skip
    models = Models()
    models.apply(task.encode(), encode(ModelRecord(task, spec)))
    predictions, labels = events(task)
    found: list[Output] = []
    Replay(models, found.append).run(lines(directory / "p", predictions), lines(directory / "l", labels))
    return found


@pytest.mark.parametrize(
    ("topic", "kind"), [(METRICS, "metrics-record"), (ALERTS, "alert"), (INCIDENTS, "incident"), (MODELS, "model-record")]
)
def test_all_outputs_fit_the_schemas(outputs: list[Output], topic: str, kind: str) -> None:
    values = [json.loads(output.value) for output in outputs if output.topic == topic and output.value is not None]
    assert values
    assert [mistake for value in values for mistake in mistakes(kind, value)] == []


def test_alerts_of_each_kind_were_among_them(outputs: list[Output]) -> None:
    alerts = [json.loads(output.value)["data"] for output in outputs if output.topic == ALERTS and output.value]
    assert {alert["status"] for alert in alerts} == {"firing", "resolved"}
    assert {alert["kind"] for alert in alerts} == {"monitor", "detector"}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_asyncapi_refers_to_what_there_is() -> None:
    document = yaml.safe_load((DIRECTORY / "asyncapi.yaml").read_text("utf-8"))
    assert document["asyncapi"] == "3.0.0"
    files = set()
    for reference in references(document):
        if reference.startswith("#/"):
            node = document
            for part in reference[2:].split("/"):
                node = node[part]
        else:
            files.add(reference)
            assert (DIRECTORY / reference).is_file()
    assert len(files) == 10
    addresses = {channel["address"] for channel in document["channels"].values()}
    own = {"tidegauge-operations", "tidegauge-audit", "tidegauge-open-windows"}
    assert addresses == {"predictions", "labels", "models", "alerts", "incidents", "metrics", "dead-letters"} | own


def test_asyncapi_lists_the_reasons_of_dead_letters() -> None:
    document = yaml.safe_load((DIRECTORY / "asyncapi.yaml").read_text("utf-8"))
    assert document["components"]["messages"]["deadLetter"]["headers"]["properties"]["reason"]["enum"] == list(REASONS)
