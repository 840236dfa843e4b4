"""Rollout monitors in specs: what they may say, and what is said to those who write them wrongly."""

from pathlib import Path

import msgspec
import pytest
import yaml

from support.schemas import mistakes
from tidegauge.errors import SpecError
from tidegauge.models.read import load_file
from tidegauge.spec import ModelSpec, RolloutSpec

WHOLE = """\
model: churn
task: binary
windows: [5m, 1d]
champion: churn_xgb:3
monitors:
  - {name: canary, kind: rollout}
  - {name: p95-latency, kind: monitor, metric: system.latency_ms.p95, window: 5m, above: 200}
  - name: shadow
    kind: rollout
    metric: [performance.roc_auc, business.*.mean]
    window: 5m
    margin: 3%
    significance: 0.05
    min_count: 500
    lower_is_better: [business.returns.mean]
    severity: info
    runbook: https://example.com/rollouts
  - {name: speed, kind: rollout, metric: system.latency_ms.mean, margin: 5}
  - {name: all, kind: rollout, metric: default}
"""


def load(tmp_path: Path, text: str) -> ModelSpec:
    file = tmp_path / "churn.yaml"
    file.write_text(text, "utf-8")
    return load_file(file)


def test_all_members_of_a_rollout_are_read(tmp_path: Path) -> None:
    spec = load(tmp_path, WHOLE)
    assert spec.champion == "churn_xgb:3"
    assert spec.monitors is not None
    assert [monitor.name for monitor in spec.monitors] == ["p95-latency"]
    assert spec.rollouts == (
        RolloutSpec("canary", "1d"),
        RolloutSpec(
            "shadow", "5m", ("performance.roc_auc", "business.*.mean"), 0.03, False, 0.05, 500, ("business.returns.mean",),
            "info", "https://example.com/rollouts",
        ),
        RolloutSpec("speed", "1d", ("system.latency_ms.mean",), 5.0, True),
        RolloutSpec("all", "1d"),
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ModelSpec) == spec
    assert mistakes("model-spec", yaml.safe_load(WHOLE)) == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("metric: performance.f1", "versions cannot be compared by 'performance.f1'"),
        ("metric: performance.acuracy", "did you mean 'performance.accuracy'?"),
        ("metric: performance.mae", "'performance.mae' is never computed for task binary"),
        ("metric: []", "names no metric"),
        ("window: 1h", "'1h' is not among the spec's windows"),
        ("margin: 0.02", "is in the unit of one metric"),
        ("margin: -2%", "cannot be negative"),
        ("significance: 1", "is not a significance level"),
        ("significance: null", "has no value"),
        ("lower_is_better: [performance.brier]", "is not a KPI"),
        ("min_count: 1", "a whole number from 2"),
        ("above: 0.2", "unknown member"),
        ("severity: bad", "'bad' is not one of info, warning, critical"),
    ],
)
def test_a_mistake_in_a_rollout_is_told_with_its_line(tmp_path: Path, written: str, told: str) -> None:
    text = f"model: churn\ntask: binary\nwindows: [5m, 1d]\nmonitors:\n  - {{name: canary, kind: rollout, {written}}}\n"
    with pytest.raises(SpecError) as error:
        load(tmp_path, text)
    (line,) = str(error.value).splitlines()
    assert told in line
    assert "churn.yaml:5: monitors[0]" in line


def test_a_kind_that_is_not_known(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'rolout' is not one of monitor, rollout; did you mean 'rollout'"):
        load(tmp_path, "model: m\nmonitors: [{name: a, kind: rolout, metric: labels, window: 1d, below: 1}]")


def test_names_are_unique_among_all_kinds(tmp_path: Path) -> None:
    text = "model: m\nmonitors: [{name: a, metric: labels, window: 1d, below: 1}, {name: a, kind: rollout}]"
    with pytest.raises(SpecError, match="'a' is already the name"):
        load(tmp_path, text)
