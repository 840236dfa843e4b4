"""Counts a window's values in its baseline's bins, so that both distributions can be drawn side by side."""

from __future__ import annotations

from typing import Any

from tidegauge.baseline.baseline import RESULT_BINS, Baseline
from tidegauge.baseline.binning import counts_in
from tidegauge.profile.category import CategorySummary
from tidegauge.profile.data import DataProfile
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.schema import CLASS_FEATURE

MAX_VALUES = 200
"""A categorical feature with more values in its baseline has no counts in the record."""


def add_bin_counts(members: dict[str, Any], data: DataProfile, baseline: Baseline) -> None:
    """Put the counts into the members ``data`` and ``prediction`` of a record."""
    for name, counts in feature_bin_counts(data, baseline).items():
        members["data"]["features"][name]["bin_counts"] = counts
    score_counts = prediction_bin_counts(data, baseline)
    if score_counts is not None:
        members["prediction"]["bin_counts"] = score_counts


def feature_bin_counts(data: DataProfile, baseline: Baseline) -> dict[str, list[int]]:
    """Counts of each feature that the baseline has bins for.

    Numbers: as many as the baseline's ``bins`` (missing, below, between the edges, above). Categories: one for each of the
    baseline's values in alphabetical order, then unseen and missing values.
    """
    found = {}
    for name in baseline.schema.bins:
        row = data.features.index(name)
        if row is not None:
            found[name] = _number(data.features, row, name, baseline)
    for name, values in baseline.schema.values.items():
        summary = data.categories.get(name)
        if summary is not None and len(values) <= MAX_VALUES:
            row = data.features.index(name)
            mistyped = 0 if row is None else int(data.features.count[row])
            found[name] = category_counts(summary, sorted(values), summary.missing - mistyped)
    return found


def prediction_bin_counts(data: DataProfile, baseline: Baseline) -> list[int] | None:
    """Counts of the score, else of the predicted value, else of the predicted classes."""
    for name, source in RESULT_BINS.items():
        row = data.results.index(source)
        if name in baseline.schema.bins and row is not None and data.results.count[row]:
            return _number(data.results, row, name, baseline)
    values = baseline.schema.values.get(CLASS_FEATURE)
    if values is None or len(values) > MAX_VALUES or not data.result_class.count:
        return None
    return category_counts(data.result_class, sorted(values), 0)


def category_counts(summary: CategorySummary, values: list[str], missing: int) -> list[int]:
    """Counts of each of ``values``, of all others, and the missing ones."""
    known = [summary.of(value) for value in values]
    return [*known, summary.count - sum(known), missing]


def _number(block: NumericBlock, row: int, name: str, baseline: Baseline) -> list[int]:
    found: list[int] = counts_in(block, row, name, baseline.schema).counts.tolist()
    return found
