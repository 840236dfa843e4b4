"""What moves the predictions: mean absolute attributions, their drift, and how the features' ranking has changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegauge.metrics.drift import Against, number_drift
from tidegauge.profile.attribution import AttributionBlock
from tidegauge.profile.schema import ATTRIBUTION

TOP = 5
"""How many features with the largest mean absolute attributions count as the top."""
MIN_RANKED = 3
"""The rank correlation is only computed for at least this many features."""


def attributions(block: AttributionBlock, against: Against | None) -> dict[str, Any]:
    """The members ``attributions`` and ``attribution_ranking`` of a record; {} if no prediction had attributions."""
    means = block.mean_abs()
    members: dict[str, dict[str, Any]] = {}
    for row, name in enumerate(block.values.names):
        if name in means:
            members[name] = {"count": int(block.values.count[row]), "mean_abs": means[name]}
            if against is not None and ATTRIBUTION + name in against.baseline.schema.bins:
                reference, path = against.baseline.data.attributions.values, f"attributions.{name}"
                members[name] |= number_drift(block.values, row, reference, name, against, ATTRIBUTION + name, path)
    if not members:
        return {}
    found: dict[str, Any] = {"attributions": dict(sorted(members.items()))}
    if against is not None and against.baseline.data.attributions.explained:
        found["attribution_ranking"] = ranking(means, against.baseline.data.attributions.mean_abs())
    return found


def ranking(current: dict[str, float], before: dict[str, float]) -> dict[str, Any]:
    """How the order of the features by mean absolute attribution has changed: Spearman's rank correlation (1904) over the
    features of both, and which have ``entered_top`` or ``left_top``, the TOP largest.

    >>> ranking({"a": 3.0, "b": 1.0, "c": 2.0}, {"a": 3.0, "b": 2.0, "c": 1.0})
    {'entered_top': [], 'left_top': [], 'rank_correlation': 0.5}
    """
    top, top_before = _top(current), _top(before)
    found: dict[str, Any] = {"entered_top": sorted(top - top_before), "left_top": sorted(top_before - top)}
    both = sorted(current.keys() & before.keys())
    if len(both) >= MIN_RANKED:
        # Importing this takes a second, which workers without attributions save.
        from scipy.stats import rankdata

        ranks = [rankdata([of[name] for name in both]) for of in (current, before)]
        if all(np.ptp(of) for of in ranks):
            found["rank_correlation"] = float(np.corrcoef(*ranks)[0, 1])
    return found


def _top(means: dict[str, float]) -> set[str]:
    """The TOP features by mean absolute attribution, ties by name."""
    return set(sorted(means, key=lambda name: (-means[name], name))[:TOP])
