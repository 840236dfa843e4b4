"""What the topic ``models`` says of the models, and what a learned baseline adds to it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegauge.baseline.baseline import Baseline
from tidegauge.errors import SpecError
from tidegauge.models.directory import records_of
from tidegauge.models.registry import ModelRecord, Registry, carry_over, encode
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import Bins, Schema
from tidegauge.spec import BaselineSpec, ModelSpec


def baseline(version: str, edges_id: str = "e") -> Baseline:
    schema = Schema(edges_id, {"age": Bins(np.linspace(0.0, 1.0, 15))}, {})
    return Baseline("churn", version, DataProfile(), OutcomeProfile(), schema)


def raw(version: str, edges_id: str = "e") -> msgspec.Raw:
    return msgspec.Raw(baseline(version, edges_id).to_json())


def record(spec: ModelSpec, **baselines: msgspec.Raw) -> bytes:
    return encode(ModelRecord(spec.model, spec, baselines))


def test_a_model_without_a_spec_has_the_defaults() -> None:
    registry = Registry()
    assert registry.spec("churn") == ModelSpec("churn")
    assert not registry.known("churn")
    assert registry.baseline("churn", "churn:1") is None


def test_a_record_is_taken_in_and_taken_away() -> None:
    registry = Registry()
    spec = ModelSpec("churn", windows=("1h",))
    registry.apply(b"churn", record(spec, v1=raw("v1")))
    assert registry.spec("churn") == spec
    assert registry.models() == ["churn"]
    held = registry.baseline("churn", "v1")
    assert held is not None
    assert held.version == "v1"
    assert registry.baseline("churn", "v1") is held
    registry.apply(b"churn", None)
    assert not registry.known("churn")
    assert registry.baseline("churn", "v1") is None


def test_the_revision_grows_with_changes_only() -> None:
    registry = Registry()
    revisions = []
    for value in (record(ModelSpec("a")), record(ModelSpec("a")), record(ModelSpec("a", grace=1.0)), None, None):
        registry.apply(b"a", value)
        revisions.append(registry.revision)
    assert revisions == [1, 1, 2, 3, 3]


def test_the_revision_of_a_model_is_not_that_of_another() -> None:
    registry = Registry()
    registry.apply(b"churn", record(ModelSpec("churn")))
    before = registry.revision_of("churn")
    registry.apply(b"fraud", record(ModelSpec("fraud")))
    assert registry.revision_of("churn") == before
    registry.apply(b"churn", None)
    assert registry.revision_of("churn") > max(before, registry.revision_of("fraud"))
    assert registry.revision_of("unheard of") == 0


def test_a_changed_baseline_replaces_the_one_read_before() -> None:
    registry = Registry()
    for edges_id in ("one", "two"):
        registry.apply(b"churn", record(ModelSpec("churn"), v1=raw("v1", edges_id)))
        held = registry.baseline("churn", "v1")
        assert held is not None
        assert held.schema.id == edges_id


def test_a_version_without_its_own_has_the_baseline_of_all() -> None:
    registry = Registry()
    spec = ModelSpec("churn", baseline=BaselineSpec(file="b.json"), baselines={"v2": BaselineSpec(first=10)})
    registry.apply(b"churn", encode(ModelRecord("churn", spec, {"": raw("v1")})))
    assert registry.baseline("churn", "v9") is not None
    assert registry.baseline("churn", "v2") is None


BROKEN = [
    b"", b"{", b"[]", b'{"model": "a"}', b'{"model": "b", "spec": {"model": "b"}}',
    b'{"model": "a", "spec": {"model": "a"}, "baselines": {"v": {}}}',
    b'{"model": "a", "spec": {"model": "a", "windows": []}}',
    b'{"model": "a", "spec": {"model": "a", "windows": ["0s"]}}',
    b'{"model": "a", "spec": {"model": "a", "windows": ["soon"]}}',
    b'{"model": "a", "spec": {"model": "a", "windows": ["' + b"9" * 400 + b'd"]}}',
    b'{"model": "a", "spec": {"model": "a", "detectors": [{"name": "d", "stream": "error", "algorithm": "tea-leaves"}]}}',
    b'{"model": "a", "spec": {"model": "a"}, "more": ' + b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("value", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_record_changes_nothing(value: bytes) -> None:
    registry = Registry()
    registry.apply(b"a", record(ModelSpec("a", grace=7.0)))
    with pytest.raises(SpecError, match="the record of 'a' in the topic models"):
        registry.apply(b"a", value)
    assert registry.spec("a").grace == 7.0
    assert registry.revision == 1


@given(place=st.integers(0, 10**6), junk=st.binary(max_size=4))
def test_a_mangled_record_is_taken_or_refused(place: int, junk: bytes) -> None:
    value = record(ModelSpec("churn"), v1=raw("v1"))
    place %= len(value)
    registry = Registry()
    try:
        registry.apply(b"churn", value[:place] + junk + value[place + len(junk) :])
    except SpecError:
        assert registry.revision == 0
    else:
        assert registry.spec("churn").pane > 0


def test_a_learned_baseline_joins_the_models_record() -> None:
    registry = Registry()
    registry.apply(b"churn", record(ModelSpec("churn", grace=7.0), v1=raw("v1")))
    learned = registry.learned("churn", "v2", baseline("v2"), task="binary")
    assert learned.key == b"churn"
    registry.apply(b"churn", learned.value)
    assert registry.spec("churn") == ModelSpec("churn", grace=7.0, task="binary")
    assert registry.baseline("churn", "v1") is not None
    assert registry.baseline("churn", "v2") is not None


def test_an_unknown_models_baseline_can_be_learned() -> None:
    registry = Registry()
    registry.apply(b"churn", registry.learned("churn", "v1", baseline("v1")).value)
    assert registry.spec("churn") == ModelSpec("churn")
    assert registry.baseline("churn", "v1") is not None


def test_applying_a_spec_keeps_what_was_learned() -> None:
    old = record(ModelSpec("churn", task="binary"), v1=raw("v1"), v2=raw("v2", "old"))
    new = ModelSpec("churn", baselines={"v2": BaselineSpec(file="b.json"), "v3": BaselineSpec(previous=60.0)})
    merged = carry_over(ModelRecord("churn", new, {"v2": raw("v2", "new")}), old)
    assert merged.spec == msgspec.structs.replace(new, task="binary")
    assert sorted(merged.baselines) == ["v1", "v2"]
    assert Baseline.from_json(bytes(merged.baselines["v2"])).schema.id == "new"


def test_a_baseline_that_came_from_a_file_was_not_learned() -> None:
    spec = ModelSpec("churn", baseline=BaselineSpec(file="b.json"), baselines={"v2": BaselineSpec(file="c.json")})
    old = encode(ModelRecord("churn", spec, {"": raw("v1"), "v2": raw("v2")}))
    assert carry_over(ModelRecord("churn", ModelSpec("churn")), old).baselines == {}


def test_a_directory_of_specs_becomes_records(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "b.json").write_bytes(baseline("v1").to_json())
    (tmp_path / "churn.yaml").write_text("model: churn\nbaseline: {v1: base/b.json, v2: {first: 7}}")
    (tmp_path / "other.yml").write_text("model: other")
    churn, other = records_of(tmp_path)
    assert json.loads(encode(other)) == {"model": "other", "spec": {"model": "other"}}
    registry = Registry()
    registry.apply(b"churn", encode(churn))
    assert registry.spec("churn").baselines == {"v1": BaselineSpec(file="base/b.json"), "v2": BaselineSpec(first=7)}
    assert registry.baseline("churn", "v1") is not None
    assert registry.baseline("churn", "v2") is None
