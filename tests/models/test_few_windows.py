"""Baselines that span few windows, or were learned from the stream: the default monitors keep their level, and find drift."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "evaluation"))

import tidegauge_arm
from few_windows import LEARNED, Cell, measure
from streams import PHI, Scenario, draw
from tidegauge.baseline.baseline import Baseline
from tidegauge.models.default_monitors import default_monitors


def test_rows_that_remember_each_other_make_no_false_alarms(tmp_path: Path) -> None:
    """PSI above 0.2, with p-values of independent rows, fires in most of these windows."""
    cell = Cell(3, False, PHI)
    assert measure(cell, cell.scenario(1), tmp_path)["calm"][0] <= 1


def test_half_a_deviation_is_found(tmp_path: Path) -> None:
    cell = Cell(4, False, 0.0)
    found = measure(cell, cell.scenario(3), tmp_path)
    assert found["drifting"][0] >= 0.95 * found["drifting"][1]
    assert found["calm"][0] == 0
    dependent = Cell(4, False, 0.5)
    found = measure(dependent, dependent.scenario(3), tmp_path)
    assert found["episodes"][0] == found["episodes"][1]


def test_a_learned_baseline_knows_that_rows_are_dependent(tmp_path: Path) -> None:
    cell = Cell(LEARNED, True, 0.5)
    found = measure(cell, cell.scenario(5), tmp_path)
    assert found["calm"][0] == 0
    assert found["episodes"][0] == found["episodes"][1]


def test_performance_is_held_to_what_blocks_of_labels_say(tmp_path: Path) -> None:
    plan = Scenario("s", "autocorrelated", 6, 250, 4, 1, True, seed=1, phi=0.7)
    reference, _ = draw(plan)
    spec = tidegauge_arm.spec_of(plan)
    baseline = Baseline.from_json(tidegauge_arm.build_baseline(spec, reference, True, tmp_path / "reference.jsonl"))
    variance, freedom = baseline.dispersions("1h").factor("performance_z.brier", 250)
    assert variance > 1.3
    assert freedom < 40
    auc = next(of for of in default_monitors(spec, baseline) if of.metric == "performance.roc_auc")
    assert auc.condition.auto
    assert auc.confidence is None


def test_too_few_rows_say_nothing(tmp_path: Path) -> None:
    plan = Scenario("s", "independent", 6, 100, 1, 1, False, seed=1)
    reference, _ = draw(plan)
    spec = tidegauge_arm.spec_of(plan)
    raw = tidegauge_arm.build_baseline(spec, reference, False, tmp_path / "reference.jsonl")
    assert Baseline.from_json(raw).blocks is None
    assert not {name for name in json.loads(raw)["spread"] if "block" in name}
