"""Whether the outcomes themselves have changed: compares the shares of the labels' classes with the baseline's."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tidegauge.baseline.dispersion import Dispersions
from tidegauge.metrics.drift import mixed_drift
from tidegauge.metrics.positive_class import actual_classes, unknown_class_ratio
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile

LABEL_MIX = "label_mix"


def label_mix(
    outcome: OutcomeProfile, reference: OutcomeProfile | None, positive: str | None, dispersions: Dispersions | None
) -> dict[str, Any]:
    """The member ``label_mix`` of a record: ``positive_ratio``, the share of labels of the ``positive`` class (None if there is
    no such class), and PSI, JS, ``mix_shift`` and p-values over the baseline's classes and new ones; {} without classes."""
    current = outcome.derived(actual_classes)
    total = current.total()
    if not total:
        return {}
    numbers: dict[str, Any] = {}
    if positive is not None and unknown_class_ratio(current, positive) <= MAX_OUTSIDE:
        numbers["positive_ratio"] = current[positive] / total
    before = Counter[str]() if reference is None else reference.derived(actual_classes)
    if before.total():
        known = sorted(before)
        now = [current[name] for name in known]
        counts = np.array([*now, total - sum(now)])
        earlier = np.array([*(before[name] for name in known), 0])
        numbers |= mixed_drift(counts, earlier, LABEL_MIX, dispersions)
    return numbers
