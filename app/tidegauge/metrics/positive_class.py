"""Finds outcomes of which it is unknown whether they are positive: the classes are two words, and there is no
``positive_label``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tidegauge.class_names import is_positive
from tidegauge.profile.outcome import OutcomeProfile


def unknown_class_ratio(classes: Mapping[str, int], positive: str) -> float:
    """The share of events whose class is neither the ``positive`` one nor known to be its opposite. ``classes``: counts by
    name.

    >>> unknown_class_ratio({"1": 30, "0": 60, "unclear": 10}, "1"), unknown_class_ratio({"yes": 5, "no": 5}, "yes")
    (0.1, 0.0)
    """
    total = sum(classes.values())
    unknown = sum(count for name, count in classes.items() if is_positive(name, positive) is None)
    return unknown / total if total else 0.0


def actual_classes(outcome: OutcomeProfile) -> Counter[str]:
    """The number of outcomes of each class."""
    classes: Counter[str] = Counter()
    for _, actual, count in outcome.cells():
        classes[actual] += count
    return classes
