"""Performance estimated without labels: against NannyML's own results, a batch oracle, and the truth."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from support.driver import Pipeline
from support.nannyml import METRICS, NANNYML, ROOT, SPEC, baseline_of, event, pipeline_with, rows
from tidegauge.baseline.isotonic import calibration_of
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.metrics.estimated import estimated
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.data import PREDICTED_NEGATIVE, PREDICTED_POSITIVE
from tidegauge.profile.outcome import NEGATIVE, POSITIVE, OutcomeProfile
from tidegauge.profile.score_grid import SCORES, score_bins
from tidegauge.spec import BaselineSpec, ModelSpec

PEERS = ROOT / ".venv-peers"


@pytest.mark.parametrize("name", NANNYML["data_sets"])
def test_agrees_with_nannyml_chunk_by_chunk(name: str, tmp_path: Path) -> None:
    """The whole way: a baseline built from the reference rows, a stream of the analysis rows, one window a chunk."""
    told = NANNYML["data_sets"][name]
    baseline = baseline_of(tmp_path, rows(told["reference"]))
    assert baseline.calibration is not None
    assert baseline.calibration.helps == told["calibrated"]
    pipeline = pipeline_with(baseline)
    for place, chunk in enumerate(told["chunks"]):
        made = [event(5000 * place + i, 60.0 * (1 + place), s, p) for i, (s, p, _) in enumerate(rows(chunk["rows"]))]
        pipeline.send(PREDICTIONS, [json.dumps(e).encode() for e in made])
        pipeline.checkpoint()
    pipeline.finish()
    found = sorted(pipeline.records().values(), key=lambda record: str(record["window_start"]))
    assert len(found) == len(told["chunks"]) == 10
    for record, chunk in zip(found, told["chunks"], strict=True):
        assert record["estimated"]["count"] == NANNYML["chunk_size"]
        assert record["estimated"]["calibration"] == "isotonic"
        for metric in METRICS:
            # Asked for is 3e-3; scores of two decimals have grid bins of their own, so that nothing is lost at all.
            assert record["estimated"][metric] == pytest.approx(chunk["estimated"][metric], abs=1e-6), metric


@pytest.mark.skipif(not (PEERS / ".ready").exists(), reason="NannyML's own environment is not there (make .venv-peers/.ready)")
def test_the_fixture_is_what_nannyml_says(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.json"
    subprocess.run([PEERS / "bin/python", ROOT / "benchmarks/nannyml_oracle.py", fresh], check=True, timeout=300)
    again = json.loads(fresh.read_text("utf-8"))
    assert again["nannyml"] == NANNYML["nannyml"]
    for name, told in NANNYML["data_sets"].items():
        assert [c["rows"] for c in again["data_sets"][name]["chunks"]] == [c["rows"] for c in told["chunks"]]
        for fresh_chunk, chunk in zip(again["data_sets"][name]["chunks"], told["chunks"], strict=True):
            assert fresh_chunk["estimated"] == pytest.approx(chunk["estimated"], abs=1e-9)


def batch_cbpe(scores: Any, predicted: Any, reference: Any, outcomes: Any) -> dict[str, float]:
    """Confidence-based performance estimation row by row, with scikit-learn's isotonic regression."""
    p = IsotonicRegression(out_of_bounds="clip").fit(reference, outcomes).predict(scores)
    tp, fp = p[predicted == 1].sum(), (1 - p[predicted == 1]).sum()
    fn, tn = p[predicted == 0].sum(), (1 - p[predicted == 0]).sum()
    weights = np.concatenate((p, 1 - p))
    truth = np.concatenate((np.ones(len(p)), np.zeros(len(p))))
    auc = roc_auc_score(truth, np.concatenate((scores, scores)), sample_weight=weights)
    return {"accuracy": (tp + tn) / len(p), "precision": tp / (tp + fp), "recall": tp / (tp + fn),
            "f1": 2 * tp / (2 * tp + fp + fn), "roc_auc": float(auc)}  # fmt: skip


def outcomes_of(scores: Any, outcomes: Any) -> OutcomeProfile:
    profile = OutcomeProfile()
    keys = np.where(outcomes, POSITIVE, NEGATIVE) + score_bins(scores)
    profile.histograms = SparseCounts(*np.unique(keys, return_counts=True))
    return profile


def histogram_of(scores: Any, predicted: Any) -> SparseCounts:
    keys = np.where(predicted == 1, PREDICTED_POSITIVE, PREDICTED_NEGATIVE) + score_bins(scores)
    return SparseCounts(*np.unique(keys, return_counts=True))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0), st.floats(0.3, 3.0), st.floats(0.4, 2.5))
def test_equals_a_batch_estimate_on_continuous_scores(seed: int, a: float, b: float, power: float) -> None:
    random = np.random.default_rng(seed)
    reference, scores = random.beta(a, b, 20_000), random.beta(b, a, 5000)
    outcomes = random.random(20_000) < reference**power
    predicted = (scores > 0.5).astype(int)
    calibration = calibration_of(outcomes_of(reference, outcomes))
    assert calibration is not None
    if not calibration.helps:
        return
    oracle = batch_cbpe(scores, predicted, reference, outcomes)
    found = estimated(histogram_of(scores, predicted), calibration, "binary")
    assert {metric: found[metric] for metric in METRICS} == pytest.approx(oracle, abs=3e-3)


def test_the_estimate_is_the_truth_where_scores_are_probabilities() -> None:
    """Unbiased whatever the mix of scores: within four standard errors of what then happens."""
    random = np.random.default_rng(3)
    for shape in ((0.5, 0.5), (1.0, 9.0), (4.0, 2.0)):
        scores = random.beta(*shape, 200_000)
        predicted = (scores > 0.4).astype(int)
        outcomes = random.random(len(scores)) < scores
        found = estimated(histogram_of(scores, predicted), None, "binary")
        truth = float((predicted == outcomes).mean())
        assert found["accuracy"] == pytest.approx(truth, abs=4 * math.sqrt(0.25 / len(scores)))
        assert found["roc_auc"] == pytest.approx(roc_auc_score(outcomes, scores), abs=6e-3)
        assert found["calibration"] == "unchecked"


def test_calibration_only_where_it_helps() -> None:
    random = np.random.default_rng(4)
    scores = random.random(50_000)
    honest = calibration_of(outcomes_of(scores, random.random(50_000) < scores))
    overconfident = calibration_of(outcomes_of(scores, random.random(50_000) < 0.3 + 0.4 * scores))
    assert overconfident is not None
    assert overconfident.helps
    at = score_bins(np.linspace(0.05, 0.95, 100))
    assert np.abs(overconfident.probability[at] - 0.3 - 0.4 * SCORES[at]).mean() < 0.02
    assert honest is not None
    # Either answer is right for scores that are probabilities; what is used must be near them.
    assert np.abs(honest.probability[at] - SCORES[at]).mean() < 0.02
    assert calibration_of(outcomes_of(scores[:200], scores[:200] > 0.5)) is None, "too few labels"
    parted = calibration_of(outcomes_of(scores, scores > 0.5))
    assert parted is not None
    assert not parted.helps, "perfectly parted classes leave nothing to fit"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 1])), min_size=1, max_size=300), st.data())
def test_histograms_add_up_whatever_the_chunks(pairs: list[tuple[float, int]], data: st.DataObject) -> None:
    scores, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    whole = histogram_of(scores, predicted)
    cut = data.draw(st.integers(0, len(scores)))
    merged = SparseCounts()
    for part in (slice(cut, None), slice(0, cut)):
        if len(scores[part]):
            merged.merge(SparseCounts.unpack(histogram_of(scores[part], predicted[part]).pack()))
    assert merged.keys.tolist() == whole.keys.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()
    assert estimated(merged, None, "binary") == estimated(whole, None, "binary")
    assert np.abs(SCORES[score_bins(scores)] - scores).max() <= 0.5 / 256 + 1e-12


def test_counts_of_any_size_are_packed_and_unpacked() -> None:
    for size in (1, -1, 127, 128, -40_000, 2**31, 2**40):
        counts = SparseCounts(np.array([0, 12287]), np.array([1, size]))
        back = SparseCounts.unpack(counts.pack())
        assert (back.keys.tolist(), back.counts.tolist()) == ([0, 12287], [1, size])
    assert len(SparseCounts.unpack(SparseCounts().pack()).keys) == 0


def test_a_learned_baseline_has_no_labels_to_check_scores_with_and_says_so() -> None:
    pipeline = Pipeline(ModelSpec("wfh", task="binary", windows=("1m",), grace=0.0, baseline=BaselineSpec(first=5000)))
    random = np.random.default_rng(5)
    for minute in range(3):
        scores = random.random(3000)
        pipeline.send(PREDICTIONS, [json.dumps(event(3000 * minute + i, 60.0 * minute, s, int(s > 0.5))).encode()
                                    for i, s in enumerate(scores)])  # fmt: skip
        pipeline.checkpoint()
    pipeline.finish()
    for record in pipeline.records().values():
        assert record["estimated"]["calibration"] == "unchecked"
        assert record["estimated"]["accuracy"] == pytest.approx(0.75, abs=0.02)


def test_multiclass_accuracy_from_the_confidence_in_the_predicted_class(tmp_path: Path) -> None:
    spec = msgspec.structs.replace(SPEC, task="multiclass")
    random = np.random.default_rng(6)

    def labelled(count: int) -> list[tuple[float, str, str]]:
        confidence = random.uniform(0.4, 1.0, count)
        right = random.random(count) < 0.2 + 0.6 * confidence
        return [
            (float(c), "abc"[i % 3], "abc"[(i + (not r)) % 3]) for i, (c, r) in enumerate(zip(confidence, right, strict=True))
        ]

    pipeline = pipeline_with(baseline_of(tmp_path, labelled(20_000), spec), spec)
    stream = labelled(10_000)
    pipeline.send(PREDICTIONS, [json.dumps(event(i, 1.0, s, p)).encode() for i, (s, p, _) in enumerate(stream)])
    pipeline.send(
        LABELS, [json.dumps({"request_id": f"r{i}", "ts": 2.0, "label": y}).encode() for i, (_, _, y) in enumerate(stream)]
    )
    pipeline.finish()
    (record,) = pipeline.records().values()
    assert set(record["estimated"]) == {"count", "calibration", "accuracy"}
    assert record["estimated"]["calibration"] == "isotonic"
    assert record["estimated"]["accuracy"] == pytest.approx(record["performance"]["accuracy"], abs=0.02)
    assert "roc_auc" not in record["performance"]


def test_nothing_is_estimated_of_a_regression_or_without_scores() -> None:
    for task, members in (("regression", {"score": 0.4, "prediction": 3.5}), ("binary", {"prediction": 1})):
        pipeline = Pipeline(ModelSpec("wfh", task=task, windows=("1m",), grace=0.0))  # type: ignore[arg-type]
        pipeline.send(PREDICTIONS, [json.dumps({"request_id": "1", "ts": 1.0, "model_version": "wfh:1", **members}).encode()])
        pipeline.finish()
        assert all("estimated" not in record for record in pipeline.records().values())
