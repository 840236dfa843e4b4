"""Whether the population has changed: compares the shares of segment values with the baseline's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import Segment
from tidegauge.metrics.drift import binned_drift


def segment_mix(
    counts: Mapping[Segment, int], baseline: Baseline, breakdowns: Iterable[tuple[str, ...]]
) -> dict[str, dict[str, float]]:
    """PSI, JS and p-value of the distribution of predictions over the segments of each breakdown, by its name (dimensions
    joined by +). ``counts``: the predictions of each segment, and of the whole model under (). Segments unknown to the
    baseline, and predictions without the dimension, are in one bin; breakdowns unknown to the baseline are left out."""
    found = {}
    for breakdown in breakdowns:
        known = sorted(segment for segment in baseline.parts if tuple(dimension for dimension, _ in segment) == breakdown)
        if known:
            current = [counts.get(segment, 0) for segment in known]
            before = [baseline.parts[segment].data.predictions for segment in known]
            current.append(max(counts[()] - sum(current), 0))
            before.append(max(baseline.data.predictions - sum(before), 0))
            drift = binned_drift(np.array(current), np.array(before))
            if drift:
                found["+".join(breakdown)] = drift
    return found
