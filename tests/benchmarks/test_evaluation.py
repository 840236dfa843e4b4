"""What `make evaluate` rests on: streams whose truth is known, and tidegauge measured by its own verdicts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "evaluation"))

import carried
import causes
import tidegauge_arm
from streams import CALM, EPISODE, VICTIM, Rows, Scenario, draw


def scenario(family: str = "independent", drift: str = "", size: float = 0.0, windows: int = 20) -> Scenario:
    return Scenario("s", family, 6, 400, 14, windows, True, drift, size, seed=1)


def test_the_score_is_calibrated() -> None:
    reference, _ = draw(scenario())
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 1.0)):
        inside = (reference.score >= low) & (reference.score < high)
        assert reference.label[inside].mean() == pytest.approx(reference.score[inside].mean(), abs=0.05)


@pytest.mark.parametrize(("family", "correlation"), [("independent", 0.0), ("autocorrelated", 0.9)])
def test_rows_follow_each_other_as_their_family_says(family: str, correlation: float) -> None:
    values = draw(scenario(family))[1].numbers[:, VICTIM]
    known = ~np.isnan(values[1:]) & ~np.isnan(values[:-1])
    assert np.corrcoef(values[1:][known], values[:-1][known])[0, 1] == pytest.approx(correlation, abs=0.05)


def traits(rows: Rows, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """One number for each kind of drift, of the chosen rows."""
    victim, label = rows.numbers[chosen, VICTIM], rows.label[chosen]
    return {
        "mean": float(np.nanmean(victim)),
        "missing": float(np.isnan(victim).mean()),
        "category": float((rows.categories[chosen, 0] == 0).mean()),
        "concept": float(np.corrcoef(rows.score[chosen], label)[0, 1]),
        "prior": float(label.mean()),
    }


@pytest.mark.parametrize(
    ("drift", "size", "change"),
    [("mean", 1.0, 1.0), ("missing", 0.3, 0.3), ("category", 0.2, -0.2), ("concept", 0.9, -0.5), ("prior", 0.3, 0.3)],
)
def test_what_drifts_is_what_is_said_and_only_where(drift: str, size: float, change: float) -> None:
    plan = scenario(drift=drift, size=size)
    reference, watched = draw(plan)
    drifting = np.repeat(plan.drifting, plan.rows)
    assert plan.drifting.sum() == 2 * EPISODE
    assert not plan.drifting[:CALM].any()
    before = traits(reference, np.ones(len(reference.ts), bool))
    calm, changed = traits(watched, ~drifting), traits(watched, drifting)
    assert calm == pytest.approx(before, abs=0.06)
    assert changed[drift] - before[drift] == pytest.approx(change, abs=0.1)
    alike = {name: value for name, value in changed.items() if name != drift}
    assert alike == pytest.approx({name: before[name] for name in alike}, abs=0.06)


def test_verdicts_are_noted_window_by_window(tmp_path: Path) -> None:
    plan = scenario(drift="mean", size=2.0)
    reference, watched = draw(plan)
    spec = tidegauge_arm.spec_of(plan)
    baseline = tidegauge_arm.build_baseline(spec, reference, plan.labels, tmp_path / "reference.jsonl")
    said = tidegauge_arm.run(plan, spec, baseline, watched)
    assert {w for (name, w) in said.judged if name == "feature-drift"} == set(range(plan.windows))
    found = said.fired(("feature-drift",), plan.windows)
    assert found[plan.drifting].all()
    assert found[~plan.drifting].sum() <= 1
    assert all(f"data.features.x{VICTIM}.shift" in said.breached["feature-drift"][w] for w in np.flatnonzero(plan.drifting))
    assert set(said.psi) == set(range(plan.windows))


def test_an_incident_is_named_by_what_was_done_to_the_stream(tmp_path: Path) -> None:
    kinds = {kind.name: kind for kind in causes.KINDS}
    for name in ("values missing", "another relation to the outcome"):
        found = causes.measure(kinds[name], 0, tmp_path)
        assert found["true"] == found["causes"] == found["incidents"] == 1, (name, found)
        assert found["wrong"] == found["misplaced"] == 0
    wrong = causes.Kind("nothing of the kind", "missing", 0.2, frozenset({("system", "")}))
    found = causes.measure(wrong, 0, tmp_path)
    assert found["causes"] == 0
    assert found["wrong"] == found["incidents"]
    assert found["misplaced"] == found["alerts"]


def test_the_range_that_carries_a_drop_is_told_from_another_one(tmp_path: Path) -> None:
    found = carried.measure(carried.KINDS[3], 0, tmp_path)
    assert found["drops"] == found["feature"] == found["range"] > 0
    elsewhere = replace(carried.KINDS[3], feature="c0")
    found = carried.measure(elsewhere, 0, tmp_path)
    assert found["feature"] == found["range"] == 0
    assert found["false"] == found["all"] > 0
