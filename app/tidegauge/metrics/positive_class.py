"""Outcomes of which nobody has said whether they are the positive class: two words as classes, and no ``positive_label``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tidegauge.profile.outcome import OutcomeProfile, confusion_counts
from tidegauge.spec import is_positive


def unknown_class_ratio(classes: Mapping[str, int], positive: str) -> float:
    """Share of the events whose class is neither the ``positive`` one nor known to stand against it, by their ``classes`` (name
    to count).

    >>> unknown_class_ratio({"1": 30, "0": 60, "unclear": 10}, "1"), unknown_class_ratio({"yes": 5, "no": 5}, "yes")
    (0.1, 0.0)
    """
    total = sum(classes.values())
    unknown = sum(count for name, count in classes.items() if is_positive(name, positive) is None)
    return unknown / total if total else 0.0


def actual_classes(outcome: OutcomeProfile) -> Counter[str]:
    """How many outcomes were of each class."""
    classes: Counter[str] = Counter()
    for _, actual, count in confusion_counts(outcome.confusion):
        classes[actual] += count
    return classes
