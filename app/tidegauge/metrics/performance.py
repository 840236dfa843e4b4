"""Performance numbers from an outcome profile: classification, probabilities, regression."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tidegauge.metrics.positive_class import actual_classes, unknown_class_ratio
from tidegauge.metrics.scored_outcomes import scored
from tidegauge.profile.outcome import MAX_CLASSES, MAX_OUTSIDE, ConfusionCell, OutcomeProfile
from tidegauge.spec import Task

MIN_SPREAD = 1e-13
"""R² is only computed if the variance of the labels is more than this share of their mean square, so that it is right within
1e-3."""


def is_regression(outcome: OutcomeProfile, task: Task | None) -> bool:
    return task == "regression" or (task is None and not outcome.confusion)


def performance(outcome: OutcomeProfile, task: Task | None, positive: str) -> dict[str, Any]:
    """The ``performance`` member of a record; {} if nothing can be computed."""
    if is_regression(outcome, task):
        return regression(outcome)
    cells = outcome.cells()
    if task != "multiclass":
        unknown = unknown_class_ratio(outcome.derived(actual_classes), positive)
        if unknown > MAX_OUTSIDE:
            right = sum(count for said, true, count in cells if said == true)
            return {"accuracy": right / sum(count for _, _, count in cells), "unknown_class_ratio": unknown}
    numbers = classification(outcome, positive if task != "multiclass" else None)
    if task == "multiclass":
        counted = outcome.sum("class_log_loss_count")
        if counted:
            numbers["log_loss"] = outcome.sum("class_log_loss") / counted
        return numbers
    return {**numbers, **probabilities(outcome)}


def classification(outcome: OutcomeProfile, positive: str | None) -> dict[str, Any]:
    """Accuracy, precision, recall and F1 from the cells of the confusion matrix: of the class ``positive`` or, if that is None,
    macro averages and the numbers of each class. Undefined ratios (nothing predicted, nothing actual) are left out, but count
    as 0 in an average, as in scikit-learn."""
    cells = outcome.cells()
    total = sum(count for _, _, count in cells)
    if not total:
        return {}
    numbers: dict[str, Any] = {"accuracy": sum(c for p, a, c in cells if p == a) / total}
    of_class = outcome.derived(classes_of)
    if positive is not None:
        return numbers | _ratios(*of_class.get(positive, (0, 0, 0)))
    each = {name: _ratios(*counts) for name, counts in of_class.items()}
    for measure in ("precision", "recall", "f1"):
        numbers[measure] = sum(of.get(measure, 0.0) for of in each.values()) / len(each)
    numbers["classes"] = {name: each[name] for name in commonest(of_class)}
    return numbers


class ClassCounts(NamedTuple):
    """How often a class was predicted correctly (``hits``), was ``predicted``, and was ``actual``."""

    hits: int = 0
    predicted: int = 0
    actual: int = 0


def class_counts(cells: Sequence[ConfusionCell]) -> dict[str, ClassCounts]:
    """The counts of each class, ordered by its name."""
    hits: dict[str, int] = {}
    predicted: dict[str, int] = {}
    actual: dict[str, int] = {}
    for said, true, count in cells:
        predicted[said] = predicted.get(said, 0) + count
        actual[true] = actual.get(true, 0) + count
        if said == true:
            hits[said] = hits.get(said, 0) + count
    return {
        name: ClassCounts(hits.get(name, 0), predicted.get(name, 0), actual.get(name, 0))
        for name in sorted(predicted.keys() | actual.keys())
    }


def classes_of(outcome: OutcomeProfile) -> dict[str, ClassCounts]:
    """The counts of each class of some outcomes, ordered by its name."""
    return class_counts(outcome.cells())


def commonest(of_class: Mapping[str, ClassCounts]) -> list[str]:
    """The classes that a record has numbers of, ordered by name: at most the MAX_CLASSES most frequent ones."""
    return sorted(sorted(of_class, key=lambda name: (-of_class[name].predicted - of_class[name].actual, name))[:MAX_CLASSES])


def _ratios(hit: int, predicted: int, actual: int) -> dict[str, float]:
    numbers = {}
    if predicted:
        numbers["precision"] = hit / predicted
    if actual:
        numbers["recall"] = hit / actual
    if predicted + actual:
        numbers["f1"] = 2 * hit / (predicted + actual)
    return numbers


def probabilities(outcome: OutcomeProfile) -> dict[str, float]:
    """AUC, log loss, Brier score and expected calibration error (10 bins of equal width) of the outcomes whose score is a
    probability, and the share of outcomes whose score is not, if there are any. If this share is above MAX_OUTSIDE, the other
    numbers are left out, since the remaining outcomes would be an unrepresentative sample."""
    outside = outcome.no_probability_ratio
    numbers: dict[str, float] = {"no_probability_ratio": outside} if outside else {}
    found = scored(outcome)
    if found.outcomes <= 0 or outside > MAX_OUTSIDE:
        return numbers
    numbers |= {"log_loss": outcome.sum("log_loss") / found.outcomes, "brier": outcome.sum("brier") / found.outcomes}
    if found.auc is not None:
        numbers["roc_auc"] = found.auc
    numbers["ece"] = found.reliability.ece
    return numbers


def regression(outcome: OutcomeProfile) -> dict[str, float]:
    """MAE, RMSE, MAPE (a ratio, rows with actual 0 left out), R² and bias (mean of predicted - actual)."""
    n = outcome.sum("errors")
    if n <= 0:
        return {}
    squares = outcome.scaled_sum("squares")
    numbers = {
        "mae": outcome.sum("absolute") / n,
        "rmse": math.sqrt(squares / n),
        "bias": outcome.sum("error_sum") / n,
    }
    if outcome.sum("relative_count"):
        numbers["mape"] = outcome.sum("relative") / outcome.sum("relative_count")
    actual_squares = outcome.scaled_sum("actual_squares")
    spread = actual_squares - outcome.sum("actual_sum") ** 2 / n
    # Each square was rounded. If labels differ little relative to their size, the difference would be mostly rounding error.
    if spread > MIN_SPREAD * actual_squares:
        numbers["r2"] = 1.0 - squares / spread
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
