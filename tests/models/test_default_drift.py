"""What the default drift monitors find by way of the whole program: reference data, baseline, stream, verdicts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "evaluation"))

import tidegauge_arm
from streams import VICTIM, Scenario, draw


@pytest.mark.parametrize(
    ("kind", "size", "monitor", "path"),
    [
        ("mean", 0.4, "feature-drift", f"data.features.x{VICTIM}.shift"),
        ("tail", 1.5, "feature-drift", f"data.features.x{VICTIM}.shift"),
        ("category", 0.15, "category-drift", "data.features.c0.mix_shift"),
        ("missing", 0.03, "missing-drift", f"data.features.x{VICTIM}.missing_shift"),
        ("prior", 0.15, "label-drift", "label_mix.mix_shift"),
    ],
)
def test_each_kind_of_drift_is_named_by_its_monitor(tmp_path: Path, kind: str, size: float, monitor: str, path: str) -> None:
    plan = Scenario("s", "independent", 6, 500, 20, 20, True, kind, size, seed=3)
    reference, watched = draw(plan)
    spec = tidegauge_arm.spec_of(plan)
    baseline = tidegauge_arm.build_baseline(spec, reference, True, tmp_path / "reference.jsonl")
    said = tidegauge_arm.run(plan, spec, baseline, watched)
    found = np.array([path in said.breached.get(monitor, {}).get(w, ()) for w in range(plan.windows)])
    assert found[plan.drifting].mean() >= 0.75
    assert found[~plan.drifting].mean() <= 0.1


def test_a_feature_that_never_lacked_values_is_watched_too(tmp_path: Path) -> None:
    plan = Scenario("s", "independent", 6, 500, 20, 8, False, seed=4)
    reference, watched = draw(plan)
    assert not np.isnan(reference.numbers[:, 0]).any()
    watched.numbers[::50, 0] = np.nan
    spec = tidegauge_arm.spec_of(plan)
    baseline = tidegauge_arm.build_baseline(spec, reference, False, tmp_path / "reference.jsonl")
    said = tidegauge_arm.run(plan, spec, baseline, watched)
    assert all("data.features.x0.missing_shift" in said.breached["missing-drift"][w] for w in range(plan.windows))


def test_a_gap_is_not_told_again_by_the_window_after_it(tmp_path: Path) -> None:
    """The window after a gap lacks a few more values than usual: too few by itself, and the gap is known."""
    plan = Scenario("s", "independent", 6, 500, 20, 8, False, seed=4)
    reference, watched = draw(plan)
    column = watched.numbers[:, 1]
    column[1500:1650] = np.nan
    after = column[2000:2500]
    after[np.isnan(after)] = 0.0
    after[:9] = np.nan
    spec = tidegauge_arm.spec_of(plan)
    baseline = tidegauge_arm.build_baseline(spec, reference, False, tmp_path / "reference.jsonl")
    said = tidegauge_arm.run(plan, spec, baseline, watched)
    assert "data.features.x1.missing_ratio" in said.breached["missing-values"][3]
    assert [w for w, paths in said.breached["missing-drift"].items() if "data.features.x1.missing_shift" in paths] == []
