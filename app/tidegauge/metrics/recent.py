"""Numbers of a window together with the previous one, which show a lasting change that is too weak to show in a single window.

Drift seldom ends with its window, and two windows are about 1.4 times as sensitive as one. (Page 1954 and Roberts 1959
accumulate evidence over time without limit; here it is two windows only, so that an alert ends when the change does.) The
counts of both windows are added and compared by the same tests. How much such pairs differ without drift is learned from pairs
of the reference's windows.
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
"""The member of a record that holds the numbers over both windows, nested like the record."""

FEATURES = "data.features."
LEANING = 1.645
LEANING_LEVEL = 0.05
"""A window must itself deviate in the direction of the two windows together, at this standard score and level. An alert then
ends with the change, and one extreme window does not make the next one fire."""


def recent_data(now: Mapping[str, Any], before: Mapping[str, Any], baseline: Baseline, window: str | None) -> dict[str, Any]:
    """The shifts of two windows together, computed from the ``bin_counts`` in their records. ``window``: the name of the window
    length, None for windows of the baseline itself."""
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
    """Performance of two settled windows together, and the numbers that it is tested by."""
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
    """The shift of the feature ``name`` of the baseline's schema: of its values if it is numeric, else of its mix of
    categories."""
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


class LowOrHigh(NamedTuple):
    """Whether the number of the window alone is low, and whether it is high."""

    low: bool
    high: bool


def leaning(
    path: str, both: Mapping[str, Any], single: Mapping[str, Any], spreads: Mapping[str, Spread], test: str | None
) -> LowOrHigh:
    """Whether the number at ``path`` of the window alone is at least LEANING standard deviations low or high. ``both``,
    ``single``: the numbers of the window with the previous one, and of the window alone; ``spreads``: those of the baseline's
    windows; ``test``: the name of the p-value if the number is a distance, which can only be high."""
    head, _, name = path.rpartition(".")
    node, own = _node(both, head), _node(single, head)
    if name == "shift":
        direction = node.get("shift_in")
        before, now = node.get(SCORES, {}).get(direction), own.get(SCORES, {}).get(direction)
        if before is None or now is None:
            return LowOrHigh(False, False)
        mean, deviation, _ = spreads.get(f"{head}.{SCORES}.{direction}", (0.0, 1.0, 0))
        return LowOrHigh(False, math.copysign(now, before * now) >= LEANING * max(math.hypot(mean, deviation), 1.0))
    if test is not None:
        return LowOrHigh(False, own.get(test, 1.0) <= LEANING_LEVEL)
    if path not in spreads or name not in own:
        return LowOrHigh(False, False)
    mean, deviation, _ = spreads[path]
    return LowOrHigh(own[name] < mean - LEANING * deviation, own[name] > mean + LEANING * deviation)


def _node(numbers: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The member at ``path``; a feature's name may hold dots."""
    name = path.removeprefix(FEATURES)
    found: Mapping[str, Any] = numbers.get(path, {}) if name == path else numbers["data"]["features"].get(name, {})
    return found
