"""Categories of more values than are counted one by one: nothing that was seen is called unseen, and what is new is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import Record
from tidegauge.join.columns import data_columns
from tidegauge.metrics.record import data_members
from tidegauge.offline.reference import build
from tidegauge.profile import category
from tidegauge.profile.data import DataProfile
from tidegauge.profile.schema import Schema
from tidegauge.spec import ModelSpec

SPEC = ModelSpec("m", task="binary")


def lines(merchants: list[str]) -> list[bytes]:
    return [
        json.dumps({"request_id": f"r{i}", "ts": float(i), "model_version": "m:1", "score": 0.5,
                    "features": {"merchant": merchant}}).encode()
        for i, merchant in enumerate(merchants)
    ]  # fmt: skip


def profile_of(merchants: list[str], schema: Schema | None, chunks: int = 1) -> DataProfile:
    """Chunk by chunk, packed in between as between stages."""
    whole = DataProfile()
    decoded = Decoder(Prediction).chunk([Record(i, -1, None, raw) for i, raw in enumerate(lines(merchants))])[0]
    for part in np.array_split(np.arange(len(decoded)), chunks):
        columns = data_columns([decoded[i] for i in part], SPEC, schema)
        whole.merge(DataProfile.unpack(columns.group(np.arange(len(part)), np.array([0]), True)[0].pack()))
    return whole


def compared(baseline: Baseline, merchants: list[str]) -> dict[str, Any]:
    found = data_members(profile_of(merchants, baseline.schema, 3), SPEC, baseline)
    member: dict[str, Any] = found["data"]["features"]["merchant"]
    return member


def names(rng: np.random.Generator, n: int, of: int) -> list[str]:
    """Every one of ``of`` values, and more of the first ones."""
    return [f"m{i}" for i in np.concatenate((np.arange(of), (of * rng.random(n - of) ** 2).astype(int)))]


@pytest.fixture(scope="module", params=["reference", "learned"])
def baseline(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    reference = names(np.random.default_rng(1), 9000, 3000)
    if request.param == "learned":
        return Baseline.from_json(Baseline.learned("m", "m:1", {(): profile_of(reference, None, 5)}).to_json())
    path: Path = tmp_path_factory.mktemp("many") / "r.jsonl"
    path.write_bytes(b"\n".join(lines(reference)))
    return Baseline.from_json(build(SPEC, "m:1", path).to_json())


def test_what_was_seen_is_not_called_unseen(baseline: Baseline) -> None:
    found = compared(baseline, names(np.random.default_rng(2), 9000, 3000))
    assert found["unseen_ratio"] == 0.0
    assert found["bins"] == "commonest"
    assert not {"psi", "js", "p_value", "mix_shift"} & set(found)


def test_what_is_new_is_found(baseline: Baseline) -> None:
    merchants = names(np.random.default_rng(3), 6000, 3000)
    merchants[::10] = [f"new{i}" for i in range(600)]
    assert compared(baseline, merchants)["unseen_ratio"] == pytest.approx(0.1)


def test_one_in_a_million_new_values_is_taken_for_a_known_one() -> None:
    """A hash of 32 bits: with 65,536 of them, one in 65,536 new values is missed."""
    rng = np.random.default_rng(5)
    further = np.unique(rng.integers(0, 2**32, category.MAX_FURTHER, dtype=np.uint32))
    places = category.KnownValues(frozenset(), further).places([f"v{i}" for i in range(20_000)])
    assert (places == category.FURTHER).sum() <= 5


def test_of_too_many_values_nothing_is_called_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(category, "MAX_FURTHER", 500)
    learned = Baseline.learned("m", "m:1", {(): profile_of(names(np.random.default_rng(6), 4000, 2000), None, 4)})
    again = Baseline.from_json(learned.to_json())
    assert again.schema.further == {"merchant": None}
    found = compared(again, ["new"] * 300)
    assert "unseen_ratio" not in found
    assert found["bins"] == "commonest"


def test_many_new_values_hide_none_of_the_known(tmp_path: Path) -> None:
    """Beyond the bound only names of new values are dropped: the known ones stay exact."""
    (tmp_path / "r.jsonl").write_bytes(b"\n".join(lines(["a"] * 60 + ["b"] * 40)))
    known = build(SPEC, "m:1", tmp_path / "r.jsonl")
    profile = profile_of([f"n{i // 2}" for i in range(4000)] + ["a"] * 3 + ["b"], known.schema, 4)
    summary = profile.categories["merchant"]
    assert summary.counts == {"a": 3, "b": 1}
    assert summary.unseen == 4000
    assert len(summary.new) <= category.MAX_NEW + 1
