"""What is told of a change of a model's spec or baselines: what differs, by whom, and each change once."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.schemas import mistakes
from tidegauge.baseline.baseline import Baseline
from tidegauge.models.read import load_file
from tidegauge.models.registry import (
    CHANGES_KEPT,
    ModelChange,
    ModelRecord,
    Registry,
    carry_over,
    changed_by,
    encode,
)
from tidegauge.models.spec_changes import LONGEST, spec_changes
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import Schema
from tidegauge.spec import BaselineSpec, ModelSpec

SPEC = """
model: flights
windows: [1h, 1d]
segments: [region]
features:
  wind_speed: {type: number, min: 0, max: 60}
monitors:
  - {name: wind, metric: data.features.wind_speed.psi, window: 1d, above: 0.2}
  - {name: auc, metric: performance.roc_auc, window: 1d, below: 0.85, severity: critical}
detectors:
  - {name: shift, stream: error, algorithm: adwin, parameters: {delta: 0.002}}
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("above: 0.2", "above: 0.3", "monitor wind (data.features.wind_speed.psi): above 0.2 → above 0.3"),
        ("below: 0.85", "below_baseline: 2%", "monitor auc (performance.roc_auc): below 0.85 → below the baseline by 2%"),
        ("severity: critical", "severity: warning", "monitor auc severity critical → warning"),
        ("below: 0.85,", "below: 0.85, min_count: 500,", "monitor auc min_count 200 → 500"),
        ("{name: auc", "{name: area", "monitor auc removed; monitor area added: performance.roc_auc below 0.85"),
        ("max: 60", "max: 80", "feature wind_speed max 60 → 80"),
        ("[1h, 1d]", "[1h, 1d, 7d]", "windows 1h, 1d → 1h, 1d, 7d"),
        ("[region]", "[region, [region, device]]", "segments region → region, region+device"),
        ("delta: 0.002", "delta: 0.01", "detector shift parameters delta 0.002 → 0.01"),
        ("model: flights", "model: flights\ngrace: 5m", "grace 60 → 300"),
        ("model: flights", "model: flights\nlineage: {commit: 9fceb02}", "lineage commit none → 9fceb02"),
    ],
)  # fmt: skip
def test_the_members_that_differ_are_told_in_the_words_of_the_spec(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in SPEC
    specs = []
    for number, text in enumerate((SPEC, SPEC.replace(old, new))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text)
        specs.append(load_file(path))
    found = spec_changes(specs[0], specs[1])
    assert sorted(found.split("; ")) == sorted(told.split("; "))
    assert spec_changes(specs[0], specs[0]) == ""


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    monitors = [f"  - {{name: m{n}, metric: data.features.a{n}.psi, window: 1d, above: LIMIT}}" for n in range(40)]
    specs = []
    for limit in ("0.2", "0.3"):
        path = tmp_path / f"{limit}.yaml"
        path.write_text("\n".join(["model: flights", "windows: [1d]", "monitors:", *monitors]).replace("LIMIT", limit))
        specs.append(load_file(path))
    told = spec_changes(*specs)
    assert len(told) <= LONGEST
    *named, rest = told.split("; ")
    assert rest == f"{40 - len(named)} further"


def baseline(edges_id: str) -> msgspec.Raw:
    return msgspec.Raw(Baseline("m", "", DataProfile(), OutcomeProfile(), Schema(edges_id, {}, {})).to_json())


def test_another_baseline_is_told_by_its_file() -> None:
    def of(file: str, edges_id: str) -> ModelRecord:
        return ModelRecord("m", ModelSpec("m", baseline=BaselineSpec(file=file)), {"": baseline(edges_id)})

    old = of("2013-01.json", "11111111aa")
    first, second = changed_by(carry_over(of("2013-02.json", "22222222bb"), encode(old)), encode(old), "ann", 7.0).changes
    assert first == ModelChange(7.0, "ann", "spec", "baseline file 2013-01.json → 2013-02.json")
    assert (second.kind, second.text.split(" → ")) == (
        "baseline", ["all versions: 2013-01.json (0 predictions, 11111111)", "2013-02.json (0 predictions, 22222222)"]
    )  # fmt: skip
    again = of("2013-01.json", "22222222bb")
    (rebuilt,) = changed_by(carry_over(again, encode(old)), encode(old), "ann", 7.0).changes
    assert rebuilt.kind == "baseline"


def test_a_learned_baseline_keeps_what_was_changed_before() -> None:
    change = ModelChange(7.0, "ann", "spec", "grace 60 → 300")
    registry = Registry()
    registry.apply(b"m", encode(ModelRecord("m", ModelSpec("m", grace=300.0), {}, (change,))))
    learned = registry.learned("m", "m:1", Baseline("m", "m:1", DataProfile(), OutcomeProfile(), Schema("e", {}, {})))
    registry.apply(b"m", learned.value)
    assert registry.changes("m") == (change,)
    assert mistakes("model-record", json.loads(registry.encoded("m") or b"")) == []


@given(graces=st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=120))
def test_each_change_is_remembered_once_however_often_it_is_applied(graces: list[float]) -> None:
    """Whatever is applied in turn, back and forth, each twice: the changes are those between neighbours that differ."""
    held: bytes | None = None
    for at, grace in enumerate(graces):
        for _ in range(2):
            record = carry_over(ModelRecord("m", ModelSpec("m", grace=grace)), held)
            if held is not None and encode(record) != held:
                record = changed_by(record, held, "ann", float(at))
            held = encode(record)
    expected = [
        ModelChange(float(at), "ann", "spec", f"grace {was:g} → {grace:g}")
        for at, (was, grace) in enumerate(pairwise(graces), 1)
        if was != grace
    ]
    registry = Registry()
    registry.apply(b"m", held or b"")
    assert list(registry.changes("m")) == expected[-CHANGES_KEPT:]
