"""A window taken together with the one before it: shows a lasting change that is too weak to show in one window.

Drift seldom ends with its window, and two windows say half as much again as one does (Page 1954 and Roberts 1959 let evidence
add up over time; here it does over two windows only, so that an alert ends when the change does). Counts are added up, and
compared by the same tests. How much two such windows differ without drift is learned from the reference's own pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.scored import PERFORMANCE, SCORES
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.bin_counts import category_counts
from tidegauge.metrics.drift import Against, contrasts, missing_before, mix_shift
from tidegauge.metrics.label_mix import LABEL_MIX, label_mix
from tidegauge.metrics.performance import performance
from tidegauge.metrics.performance_z import performance_z
from tidegauge.metrics.shift import missing_shift, number_shift
from tidegauge.profile.category import CategorySummary
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.schema import CLASS_FEATURE, SCORE_FEATURE, VALUE_FEATURE
from tidegauge.spec import ModelSpec

RECENT = "recent"
"""The member of a record that holds its numbers over both windows, nested as the record is."""

FEATURES = "data.features."
LEANING = 1.645
LEANING_LEVEL = 0.05
"""A window must itself lean the way it and the one before go together, as one in twenty does by chance: so an alert ends with
the change, and a single huge window does not make its successor fire."""


def recent_data(now: Mapping[str, Any], before: Mapping[str, Any], baseline: Baseline, window: str | None) -> dict[str, Any]:
    """Shifts of two windows together, from their records (which hold ``bin_counts``). ``window``: None for windows of the
    baseline itself."""
    rows = now["predictions"] + before["predictions"]
    against = Against(baseline, window, rows, recent=True)
    features: dict[str, Any] = {}
    for name, of in now["data"]["features"].items():
        earlier = before["data"]["features"].get(name)
        if earlier is not None:
            found = _feature(name, of, earlier, against)
            if found:
                features[name] = found
    drift: dict[str, Any] = {}
    for name in (SCORE_FEATURE, VALUE_FEATURE, CLASS_FEATURE):
        if not drift:
            drift = _shift(name, now["prediction"], before["prediction"], against, "prediction")
    return {"predictions": rows, "data": {"features": features}} | ({"prediction": drift} if drift else {})


def recent_outcome(
    now: OutcomeProfile, before: OutcomeProfile, spec: ModelSpec, baseline: Baseline, window: str | None
) -> dict[str, Any]:
    """Performance, and what it is tested by, of two windows whose labels are in."""
    both = OutcomeProfile.unpack(now.pack())
    both.merge(before)
    numbers = performance(both, spec.task, spec.positive_label)
    found: dict[str, Any] = {"labels": both.labels, "performance": numbers}
    found[PERFORMANCE] = performance_z(numbers, both.labels, baseline, spec)
    if spec.task != "regression":
        dispersions = None if window is None else baseline.dispersions(window, recent=True)
        found[LABEL_MIX] = label_mix(both, baseline.outcome, None, dispersions)
    return {name: value for name, value in found.items() if value}


def _feature(name: str, now: Mapping[str, Any], before: Mapping[str, Any], against: Against) -> dict[str, Any]:
    path = f"data.features.{name}"
    total = now["count"] + before["count"]
    if not total or "missing_shift" not in now or "missing_shift" not in before:
        return {}
    missing = sum(round(of["missing_ratio"] * of["count"]) for of in (now, before))
    found = missing_shift(missing, total, *missing_before(name, against.baseline), path, against.dispersions, against.rows)
    shift = _shift(name, now, before, against, path)
    scores = found.get(SCORES, {}) | shift.get(SCORES, {})
    return found | shift | ({SCORES: scores} if scores else {})


def _shift(name: str, now: Mapping[str, Any], before: Mapping[str, Any], against: Against, path: str) -> dict[str, Any]:
    """Shift of the number, or of the mix of the category, ``name`` of the baseline's schema."""
    baseline = against.baseline
    if "bin_counts" not in now or len(now["bin_counts"]) != len(before.get("bin_counts", ())):
        return {}
    counts = np.array(now["bin_counts"]) + np.array(before["bin_counts"])
    if name in baseline.schema.bins and "shift" in now and "shift" in before:
        held = contrasts(baseline, name)
        return {} if held is None else number_shift(counts, held, path, against.dispersions, against.rows)
    if name in baseline.schema.values and "mix_shift" in now and "mix_shift" in before:
        categories = baseline.data.categories
        summary = baseline.data.result_class if name == CLASS_FEATURE else categories.get(name, CategorySummary())
        earlier = np.array(category_counts(summary, sorted(baseline.schema.values[name]), 0))
        return mix_shift(counts[:-1], earlier[:-1], path, against.dispersions)
    return {}


class Leaning(NamedTuple):
    """Whether a window's own number is low, and whether it is high."""

    low: bool
    high: bool


def leaning(
    path: str, both: Mapping[str, Any], single: Mapping[str, Any], spreads: Mapping[str, Spread], test: str | None
) -> Leaning:
    """Which way a window's own number at ``path`` leans, LEANING standard deviations off. ``both`` and
    ``single`` are the numbers of the window with the one before and alone, ``spreads`` those of the baseline's windows;
    ``test``: the p-value of a distance, which can only be high."""
    head, _, name = path.rpartition(".")
    node, own = _node(both, head), _node(single, head)
    if name == "shift":
        direction = node.get("shift_in")
        before, now = node.get(SCORES, {}).get(direction), own.get(SCORES, {}).get(direction)
        if before is None or now is None:
            return Leaning(False, False)
        mean, deviation, _ = spreads.get(f"{head}.{SCORES}.{direction}", (0.0, 1.0, 0))
        return Leaning(False, math.copysign(now, before * now) >= LEANING * max(math.hypot(mean, deviation), 1.0))
    if test is not None:
        return Leaning(False, own.get(test, 1.0) <= LEANING_LEVEL)
    if path not in spreads or name not in own:
        return Leaning(False, False)
    mean, deviation, _ = spreads[path]
    return Leaning(own[name] < mean - LEANING * deviation, own[name] > mean + LEANING * deviation)


def _node(numbers: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The member at ``path``; a feature's name may hold dots."""
    name = path.removeprefix(FEATURES)
    found: Mapping[str, Any] = numbers.get(path, {}) if name == path else numbers["data"]["features"].get(name, {})
    return found
