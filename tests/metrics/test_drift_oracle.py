"""Every distance and p-value of a record, against SciPy on the raw rows: numbers, booleans, categories and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.events import Decoder, Prediction
from tidegauge.engine.stage import Record
from tidegauge.join.columns import data_columns
from tidegauge.metrics.record import data_members
from tidegauge.offline.reference import build
from tidegauge.spec import ModelSpec

SPEC = ModelSpec("m", task="binary")
Rows = dict[str, list[Any]]


def rows(rng: np.random.Generator, n: int, shift: float = 0.0) -> Rows:
    """A number with ties and holes, a boolean, a category with holes, a score; ``shift`` moves each of them."""
    amount = np.round(rng.gamma(2.0, 20.0, n) * (1 + shift), 1)
    return {
        "amount": [None if hole else float(x) for x, hole in zip(amount, rng.random(n) < 0.05 + shift / 4, strict=True)],
        "member": [bool(x) for x in rng.random(n) < 0.3 + shift / 2],
        "plan": [str(p) or None for p in rng.choice(["a", "b", "c", ""], n, p=[0.5 - shift, 0.3 + shift, 0.15, 0.05])],
        "score": [float(x) for x in rng.beta(1 + shift, 3.0, n)],
    }  # fmt: skip


def events(of: Rows) -> list[bytes]:
    names = ("amount", "member", "plan")
    return [
        json.dumps({"request_id": str(i), "ts": float(i), "model_version": "m:1", "score": of["score"][i],
                    "features": {name: of[name][i] for name in names}}).encode()
        for i in range(len(of["score"]))
    ]  # fmt: skip


def baseline_of(path: Path, of: Rows) -> Baseline:
    path.write_bytes(b"\n".join(events(of)))
    return build(SPEC, "m:1", path)


def numbers_of(baseline: Baseline, of: Rows) -> dict[str, dict[str, Any]]:
    decoded = Decoder(Prediction).chunk([Record(i, -1, None, raw) for i, raw in enumerate(events(of))])[0]
    columns = data_columns(decoded, SPEC, baseline.schema)
    profile = columns.group(np.arange(len(decoded)), np.array([0]), True)[0]
    found = data_members(profile, SPEC, baseline)
    return found["data"]["features"] | {"score": found["prediction"]}


def binned(reference: list[Any], values: list[Any]) -> np.ndarray:  # type: ignore[type-arg]
    """Counts by the contract's definition: ten bins between the reference's deciles, below, above, missing."""
    known = [v for v in reference if v is not None]
    if isinstance(known[0], float):
        edges = np.unique(np.quantile(known, np.linspace(0, 1, 11)))
        x = np.array([v for v in values if v is not None])
        inside = np.histogram(x, edges)[0]
        return np.array([*inside, (x < edges[0]).sum(), (x > edges[-1]).sum(), len(values) - len(x)])
    classes = sorted(set(known))
    other = sum(v is not None and v not in classes for v in values)
    return np.array([*(values.count(c) for c in classes), other, values.count(None)])


@pytest.mark.parametrize("n", [180, 4000])
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.3])
def test_every_distance_is_scipy_s(tmp_path: Path, n: int, shift: float) -> None:
    rng = np.random.default_rng(n)
    reference, window = rows(rng, n), rows(rng, n, shift)
    found = numbers_of(baseline_of(tmp_path / "r.jsonl", reference), window)
    for name in ("amount", "member", "plan", "score"):
        before, now = binned(reference[name], reference[name]), binned(reference[name], window[name])
        p, q = (np.maximum(of / of.sum(), 1e-4) for of in (before, now))
        assert found[name]["psi"] == pytest.approx(float(((q - p) * np.log(q / p)).sum()), rel=1e-9), name
        assert found[name]["js"] == pytest.approx(jensenshannon(now / now.sum(), before / before.sum()), abs=1e-9), name
        held = (now + before) * 0.5 >= 5
        if held[now + before > 0].all():
            table = np.array([now, before])[:, now + before > 0]
            expected = stats.chi2_contingency(table, correction=False).pvalue
            assert found[name]["p_value"] == pytest.approx(expected, rel=1e-6), name
    for name in ("amount", "score"):
        a, b = ([v for v in of[name] if v is not None] for of in (window, reference))
        # Sketches are exact up to 200 values; beyond that their rank error is 1.65 % each.
        error = 1e-9 if n < 200 else 0.033
        assert found[name]["ks"] == pytest.approx(stats.ks_2samp(a, b).statistic, abs=error), name
        scale = np.std(a + b)
        assert found[name]["wasserstein"] == pytest.approx(
            stats.wasserstein_distance(a, b), abs=max(error, 1e-9) * 3 * scale
        ), name


def test_p_values_of_every_type_are_uniform_without_drift(tmp_path: Path) -> None:
    """Window after window against its own reference: each type's p-values fall below 1 % in 1 % of windows, those of the
    categories too, whose few cells make them coarse."""
    rng = np.random.default_rng(5)
    p: dict[str, list[float]] = {}
    for _ in range(80):
        baseline = baseline_of(tmp_path / "r.jsonl", rows(rng, 600))
        for name, of in numbers_of(baseline, rows(rng, 300)).items():
            p.setdefault(name, []).append(of["p_value"])
            if "tail_p_value" in of:
                p.setdefault(f"{name} tail", []).append(of["tail_p_value"])
    assert set(p) == {"amount", "member", "plan", "score", "amount tail", "score tail"}
    for name, values in p.items():
        assert stats.kstest(values, "uniform").pvalue > 1e-3, name


def test_nothing_is_tested_where_too_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    baseline = baseline_of(tmp_path / "r.jsonl", rows(rng, 500))
    for n in (1, 5, 19):
        for name, of in numbers_of(baseline, rows(rng, n)).items():
            assert not {"p_value", "ks_p_value", "tail_p_value"} & set(of), (n, name)
    rare = rows(rng, 500)
    rare["member"] = [i < 2 for i in range(500)]
    assert "p_value" not in numbers_of(baseline_of(tmp_path / "r.jsonl", rare), rare)["member"], "two of 1,000 are no cell"
