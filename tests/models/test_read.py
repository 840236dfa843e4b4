"""Spec files: what the contract writes is read, and every mistake is told with its line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.spread import Spread
from tidegauge.errors import SpecError
from tidegauge.models.read import check_directory, load_directory, load_file, load_to_build
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import Bins, Schema
from tidegauge.spec import (
    BaselineSpec,
    Condition,
    DetectorSpec,
    FeatureSpec,
    KpiRatio,
    KpiSpec,
    Lineage,
    ModelSpec,
    WinsorLimits,
)

CONTRACT = """\
model: churn
task: binary                     # binary | multiclass | regression
positive_label: 1
confidence_is: positive
segments: [region, device, [region, device]]
windows: [5m, 1h, 1d]            # tumbling, aligned to the epoch (UTC)
grace: 1m
label_horizon: 7d
baseline: churn_xgb-3.baseline.json   # or {first: 5000} (default) or {previous: 7d}; or a map version → one of these
features:                        # optional: narrows what the baseline says
  age: {type: number, min: 0, max: 120}
  plan: {type: category, values: [a, b, c]}
  email: {pii: drop}             # drop | hash
monitors:
  - {name: feature-drift, metric: data.features.*.psi, window: 1d, above: 0.2, severity: warning}
  - {name: auc, metric: performance.roc_auc, window: 1d, below: 0.85, severity: critical, runbook: "https://…"}
  - {name: p95-latency, metric: system.latency_ms.p95, window: 5m, above: 200}
  - {name: conversion, metric: business.converted.mean, window: 1d, below_baseline: 2%}
  - {name: region-gap, metric: fairness.region.accuracy_gap, window: 1d, above: 0.05}
detectors:
  - {name: error-shift, stream: error, algorithm: adwin, parameters: {delta: 0.002}, severity: critical}
lineage: {run_id: 3f2a…, commit: 9fceb02, data_snapshot: "s3://…"}
"""
BASELINE = "churn_xgb-3.baseline.json"


def write_baseline(path: Path, spread: dict[str, dict[str, Spread]] | None = None) -> None:
    schema = Schema("e", {"age": Bins(np.linspace(0.0, 1.0, 15))}, {})
    held = Baseline("churn", "churn_xgb:3", DataProfile(), OutcomeProfile(), schema)
    held.spread = spread or {}
    path.write_bytes(held.to_json())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def make(text: str, name: str = "churn.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text, "utf-8")
        return file

    return make


def told(path: Path) -> list[str]:
    return [str(problem).removeprefix(f"{path.parent}/") for problem in check_directory(path.parent)]


def test_the_contracts_example_is_read_and_written_again(write: Callable[..., Path], tmp_path: Path) -> None:
    write_baseline(tmp_path / BASELINE)
    spec = load_file(write(CONTRACT))
    assert spec.segments == (("region",), ("device",), ("region", "device"))
    assert (spec.model, spec.task, spec.positive_label, spec.confidence_is) == ("churn", "binary", "1", "positive")
    assert (spec.windows, spec.grace, spec.label_horizon) == (("5m", "1h", "1d"), 60.0, 604800.0)
    assert spec.baseline == BaselineSpec(file=BASELINE)
    assert spec.features["age"] == FeatureSpec(type="number", min=0, max=120)
    assert spec.features["plan"].values == ("a", "b", "c")
    assert spec.features["email"].pii == "drop"
    assert spec.monitors is not None
    assert [m.condition for m in spec.monitors] == [
        Condition("above", high=0.2),
        Condition("below", low=0.85),
        Condition("above", high=200),
        Condition("below", low=0.02, relative_to_baseline=True, percent=True),
        Condition("above", high=0.05),
    ]
    assert [m.severity for m in spec.monitors] == ["warning", "critical", "warning", "warning", "warning"]
    assert spec.detectors == (DetectorSpec("error-shift", "error", "adwin", {"delta": 0.002}),)
    assert spec.lineage == Lineage("3f2a…", "9fceb02", "s3://…")
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec


def test_a_model_name_is_enough(write: Callable[..., Path]) -> None:
    assert load_file(write("model: churn")) == ModelSpec("churn")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("{first: 300}", BaselineSpec(first=300)),
        ("{previous: 7d}", BaselineSpec(previous=604800.0)),
    ],
)
def test_every_way_to_write_a_baseline_is_read(write: Callable[..., Path], written: str, meant: BaselineSpec) -> None:
    assert load_file(write(f"model: m\nbaseline: {written}")).baseline == meant
    spec = load_file(write(f"model: m\nbaseline: {{'m:1': {written}, 'm:2': {{first: 9}}}}"))
    assert spec.baselines == {"m:1": meant, "m:2": BaselineSpec(first=9)}
    assert spec.baseline_for("m:3") == BaselineSpec(first=5000)


@pytest.mark.parametrize(
    ("written", "name"),
    [("1", "1"), ("true", "1"), ("false", "0"), ("1.0", "1"), ("0.5", "0.5"), ("late", "late"), ("'1'", "1"),
     ("2024-01-01", "2024-01-01")],
)  # fmt: skip
def test_positive_label_is_canonical(write: Callable[..., Path], written: str, name: str) -> None:
    assert load_file(write(f"model: m\npositive_label: {written}")).positive_label == name


def test_what_only_yaml_1_1_takes_for_another_type_is_text(write: Callable[..., Path]) -> None:
    """A class `yes`, Norway, codes with leading zeros, times: as the events' own JSON, CSV and Parquet have them."""
    spec = load_file(
        write("model: m\npositive_label: yes\nfeatures:\n  a: {type: category, values: [no, on, 02139, 12:30, 1_000, 5]}")
    )
    assert spec.positive_label == "yes"
    assert spec.features["a"].values == ("no", "on", "02139", "12:30", "1000", "5")
    assert load_file(write("model: m\nbaseline: {first: 5_000}")).baseline.first == 5000
    assert load_file(write("model: m\nfeatures: {a: {type: number, min: 1e-3}}")).features["a"].min == 0.001
    with pytest.raises(SpecError, match="'010' is not a number"):
        load_file(write("model: m\nfeatures: {a: {type: number, min: 010}}"))


def test_all_members_of_monitors_are_read(write: Callable[..., Path]) -> None:
    text = """\
model: m
segments: [region]
monitors:
  - {name: a, metric: prediction.psi, window: 1h, outside: [0, 1e-1], significance: null, for: 3, segments: [region]}
  - {name: b, metric: performance.f1, window: 1h, above_baseline: 0.1, settle: 6h, min_count: 50, segments: true}
  - {name: c, metric: prediction.abstain_ratio, window: 1h, above: 0.1, early: true, significance: 1e-3}
  - {name: d, metric: business.*.mean, window: 1h, below_baseline: 2%, confidence: 0.9}
  - {name: e, metric: system.error_ratio, window: 1h, above: 0.1, few_values: 1e-3, keep_firing_for: 4, recovery_margin: 0.5}
"""
    spec = load_file(write(text))
    assert spec.monitors is not None
    a, b, c, d, e = spec.monitors
    assert (a.condition, a.significance, a.for_windows, a.segments) == (Condition("outside", 0, 0.1), None, 3, ("region",))
    assert (b.condition, b.settle, b.min_count, b.segments) == (
        Condition("above", high=0.1, relative_to_baseline=True), 21600.0, 50, True,
    )  # fmt: skip
    assert (c.early, c.significance, c.confidence) == (True, 0.001, None)
    assert d.confidence == 0.9
    assert (d.few_values, d.recovery_margin) == (None, None)
    assert (e.few_values, e.keep_firing_for, e.recovery_margin) == (0.001, 4, 0.5)


def test_members_of_kpis_are_read(write: Callable[..., Path]) -> None:
    spec = load_file(write("model: m\nkpis: {revenue: {winsorise: [0, 5e2]}, basket: {ratio: [revenue, orders]}}"))
    assert spec.kpis == {
        "revenue": KpiSpec(winsorise=WinsorLimits(0.0, 500.0)),
        "basket": KpiSpec(ratio=KpiRatio("revenue", "orders")),
    }


MISTAKES = [
    ("modell: m", "1: modell: unknown member; did you mean 'model'?"),
    ("task: binry", "2: task: 'binry' is not one of binary, multiclass, regression; did you mean 'binary'?"),
    ("windows: [5m, 5x]", "2: windows[1]: '5x' is not a length of time"),
    ("windows: [0m]", "2: windows[0]: 0m is not usable"),
    ("windows: [60m, 1h]", "2: windows[1]: 1h is as long as 60m"),
    ("windows: []", "2: windows: there must be at least one window"),
    ("windows: 5m", "2: windows: '5m' is not a list"),
    ("grace: 60", "2: grace: '60' is not a length of time"),
    ("retention:", "2: retention: has no value"),
    ("baseline: none.json", "2: baseline: there is no file 'none.json' beside the spec"),
    ("baseline: {frist: 5000}", "2: baseline.frist: unknown member; did you mean 'first'?"),
    ("baseline: {first: 10, previous: 7d}", "2: baseline: must have exactly one of first, previous, file"),
    ("baseline: {first: -1}", "2: baseline.first: '-1' is not a whole number from 1"),
    ("baseline: {previous: 7m}\nwindows: [5m]", "2: baseline: previous is no multiple of any of the windows 5m"),
    ("baseline: {previous: 30d}", "2: baseline: previous reaches back 2592000 s"),
    ("features: {age: {min: 3, max: 2}}", "2: features.age.min: the smallest, 3, is above the largest, 2"),
    ("features: {age: {type: number, values: [1]}}", "2: features.age.values: belongs to features of type category"),
    ("features: {age: {typ: number}}", "2: features.age.typ: unknown member; did you mean 'type'?"),
    ("kpis: {revenue: {cap: 3}}", "2: kpis.revenue.cap: unknown member"),
    ("kpis: {revenue: {}}", "2: kpis.revenue: must have one of winsorise, ratio"),
    ("kpis: {revenue: {winsorise: 500}}", "2: kpis.revenue.winsorise: '500' is not [lowest, highest]"),
    ("kpis: {revenue: {winsorise: [5, 1]}}", "2: kpis.revenue.winsorise: the lowest, 5, is not below the highest, 1"),
    ("kpis: {basket: {ratio: [revenue, basket]}}", "2: kpis.basket.ratio: is a ratio of two different KPIs"),
    ("segments: [[region, region]]", "2: segments[0]: is there twice"),
    ("task: binary\ntask: binary", "3: task: is written twice"),
]
MONITOR_MISTAKES = [
    (
        "metric: performance.roc_acu, above: 1",
        "metric: unknown metric 'performance.roc_acu'; did you mean 'performance.roc_auc'?",
    ),
    ("metric: data.features.age.pis, above: 1", "did you mean 'data.features.age.psi'?"),
    ("metric: data.features.home.city.psi, above: x", "above: 'x' is not a number"),
    ("metric: system.latency_ms, above: 1", "is a group of metrics, not a number"),
    ("metric: fairness.region.accuracy_gap, above: 1", "'region' is not among the spec's segments"),
    ("metric: prediction.psi", "has no condition; write one of above"),
    ("metric: prediction.psi, above: 1, below: 0", "below: a monitor has one condition"),
    ("metric: prediction.psi, above: 2%", "above: a percentage is one of the baseline's value; write above_baseline: 2%"),
    ("metric: prediction.psi, outside: [2, 1]", "outside: the lowest, 2, is above the highest, 1"),
    ("metric: prediction.psi, above: 1, early: true", "early: prediction.psi is statistical"),
    ("metric: prediction.psi, above: auto", "auto takes its limit from a baseline's spread"),
    ("metric: prediction.psi, above: 1, significance: 2", "significance: 2 is not a significance level"),
    ("metric: performance.f1, above: 1, confidence: 95", "confidence: 95 is not a confidence level"),
    ("metric: prediction.psi, above: 1, confidence: 0.9", "confidence: prediction.psi has no interval"),
    ("metric: business.revenue.sum, above: 1, confidence: 0.9", "confidence: business.revenue.sum has no interval"),
    ("metric: system.error_ratio, above: 1, few_values: 2", "few_values: 2 is not a significance level"),
    ("metric: prediction.psi, above: 1, few_values: 0.01", "few_values: few_values is for shares and lists of faults"),
    ("metric: system.error_ratio, below: 1, few_values: 0.01", "few_values: few_values is for shares and lists of faults"),
    ("metric: prediction.psi, above: 1, recovery_margin: 50", "recovery_margin: 50 is no share of the way"),
    ("metric: business.basket.ratio, above: 1", "is counted only if the spec says how; write, say, kpis: {basket: {ratio: ["),
    ("metric: business.a.b.winsorised_mean, above: 1", "write, say, kpis: {a.b: {winsorise: ["),
    ("metric: prediction.psi, above: 1, for: 0", "for: '0' is not a whole number from 1 to 64"),
    ("metric: prediction.psi, above: 1, segments: [regoin]", "segments[0]: 'regoin' is not among the spec's segments"),
]
DETECTOR_MISTAKES = [
    ("stream: error, algorithm: adwyn", "algorithm: 'adwyn' is not one of adwin"),
    ("stream: error, algorithm: adwin, parameters: {dleta: 1}", "parameters.dleta: unknown member; did you mean 'delta'?"),
    ("stream: error, algorithm: adwin, parameters: {delta: big}", "parameters.delta: 'big' is not a number"),
    ("stream: error, algorithm: kswin, parameters: {alpha: 7}", "parameters: kswin does not take these parameters"),
    ("stream: score, algorithm: ddm", "stream: ddm takes errors of 0 and 1 only"),
    ("algorithm: ddm", "stream is missing; write one of error"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_told_with_its_file_and_line(write: Callable[..., Path], text: str, message: str) -> None:
    first = "" if text.startswith("modell") else "model: m\n"
    assert any(line.startswith(f"churn.yaml:{message}") for line in told(write(first + text))), told(write(first + text))


@pytest.mark.parametrize(("text", "message"), MONITOR_MISTAKES)
def test_a_mistake_in_a_monitor_is_told_with_its_line(write: Callable[..., Path], text: str, message: str) -> None:
    (line,) = told(write(f"model: m\nmonitors:\n  - {{name: a, window: 1h, {text}}}"))
    assert line.startswith("churn.yaml:3: monitors[0]")
    assert message in line


@pytest.mark.parametrize(("text", "message"), DETECTOR_MISTAKES)
def test_a_mistake_in_a_detector_is_told_with_its_line(write: Callable[..., Path], text: str, message: str) -> None:
    (line,) = told(write(f"model: m\ndetectors:\n  - {{name: a, {text}}}"))
    assert line.startswith("churn.yaml:3: detectors[0]")
    assert message in line


def test_what_the_task_rules_out(write: Callable[..., Path]) -> None:
    text = """\
model: m
task: regression
monitors: [{name: a, metric: performance.f1, window: 1h, below: 1}]
detectors: [{name: b, stream: error, algorithm: adwin}]
"""
    metric, stream = told(write(text))
    assert "'performance.f1' is never computed for task regression; it has mae" in metric
    assert "error is a stream of classification" in stream


def test_a_window_is_one_of_the_specs(write: Callable[..., Path]) -> None:
    lines = told(
        write(
            "model: m\nmonitors:\n- {name: a, metric: labels, window: 24h, above: 1}\n"
            "- {name: b, metric: labels, window: 7m, above: 1}"
        )
    )
    assert [line.partition(": ")[2] for line in lines] == [
        "monitors[0].window: '24h' is not among the spec's windows; write 1d",
        "monitors[1].window: '7m' is not among the spec's windows; write one of 5m, 1h, 1d, or add it there",
    ]


def test_names_of_monitors_and_detectors_are_unique(write: Callable[..., Path]) -> None:
    text = """\
model: m
monitors: [{name: a, metric: labels, window: 1h, above: 1}]
detectors: [{name: a, stream: error, algorithm: ddm}]
"""
    assert told(write(text)) == [
        "churn.yaml:3: detectors[0].name: 'a' is already the name of the one in line 2; choose another"
    ]


def test_auto_wants_a_baseline_that_spans_enough_windows(write: Callable[..., Path], tmp_path: Path) -> None:
    text = "model: m\nbaseline: b.json\nmonitors: [{name: a, metric: data.features.*.psi, window: 1d, above: auto}]"
    write_baseline(tmp_path / "b.json", {"1d": {"data.features.age.psi": (0.1, 0.1, 7)}})
    (line,) = told(write(text))
    assert "auto needs data.features.*.psi in at least 8 windows of 1d; b.json has it in 7" in line
    write_baseline(tmp_path / "b.json", {"1d": {"data.features.age.psi": (0.1, 0.1, 8)}})
    assert told(write(text)) == []


def test_a_baseline_that_is_none(write: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text("{}")
    (line,) = told(write("model: m\nbaseline: b.json"))
    assert line.startswith("churn.yaml:2: baseline: b.json: ")


def test_a_spec_can_be_read_to_build_its_first_baseline(write: Callable[..., Path]) -> None:
    monitor = "{name: a, metric: prediction.psi, window: 1d, above: auto}"
    path = write(f"model: m\nbaseline: b.json\nmonitors: [{monitor}]")
    assert load_to_build(path).model == "m"
    with pytest.raises(SpecError, match="tsak") as caught:
        load_to_build(write("model: m\nbaseline: b.json\ntsak: binary"))
    assert "b.json" not in str(caught.value)


def test_all_mistakes_of_all_files_at_once(write: Callable[..., Path], tmp_path: Path) -> None:
    write("model: m\ntask: x\ngrace: y", "a.yaml")
    write("model: m", "b.yml")
    write("a: [", "c.yaml")
    with pytest.raises(SpecError) as caught:
        load_directory(tmp_path)
    places = [line.removeprefix(f"{tmp_path}/").partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == ["a.yaml:2", "a.yaml:3", "b.yml:1", "c.yaml:1"]
    assert "'m' has a spec in a.yaml already" in str(caught.value)


def test_a_directory_of_specs_is_loaded_in_order_of_file_names(write: Callable[..., Path], tmp_path: Path) -> None:
    write("model: b", "a.yaml")
    write("model: a", "b.yml")
    write("no spec", "notes.txt")
    assert check_directory(tmp_path) == []
    assert [spec.model for spec in load_directory(tmp_path)] == ["b", "a"]


def test_a_directory_without_specs_is_refused(tmp_path: Path) -> None:
    (problem,) = check_directory(tmp_path)
    assert str(problem).startswith(f"{tmp_path}: holds no specs")
    with pytest.raises(SpecError, match="is not a directory"):
        load_directory(tmp_path / "none")


BYTES = [b"", b"\xff\xfe\xff", b"- a", b"a: &x [*x]\nmodel: m", b"[" * 3000, b"model: m\n---\nmodel: n", b"model: !!python/x 1",
         b"model: \"\\ud800\"", b"? [a]\n: b\n", b"model: m\npositive_label: " + b"9" * 5000]  # fmt: skip


@pytest.mark.parametrize("raw", BYTES)
def test_files_that_are_no_specs(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.yaml").write_bytes(raw)
    with pytest.raises(SpecError):
        load_file(tmp_path / "a.yaml")


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


VALID = yaml.safe_load(CONTRACT)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}),
    st.sampled_from(["auto", "2%", "5m", "0s", "*", "..", [1, "x"], {"a": [1]}, [[[]]], {1: 2}]),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mangled_spec_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    if not (tmp_path / BASELINE).exists():
        write_baseline(tmp_path / BASELINE)
    document: Any = copy.deepcopy(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        known = places(document)[1:]
        if not known:
            break
        *way, last = data.draw(st.sampled_from(known))
        owner = document
        for key in way:
            owner = owner[key]
        action = data.draw(st.sampled_from(["drop", "rename", "retype"]))
        if action == "retype":
            owner[last] = copy.deepcopy(data.draw(VALUES))
        else:
            value = owner.pop(last)
            if action == "rename" and isinstance(owner, dict):
                owner[data.draw(st.text(max_size=6))] = value
    (tmp_path / "churn.yaml").write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8", "surrogatepass")
    refusal = ""
    try:
        spec = load_file(tmp_path / "churn.yaml")
    except SpecError as error:
        refusal = str(error)
    else:
        assert spec.pane > 0
        assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec
    assert all(line.startswith(str(tmp_path)) for line in refusal.splitlines())
