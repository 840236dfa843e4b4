"""The confidence intervals of performance numbers, computed from the same counts as the numbers.

All intervals treat labelled predictions as independent. For a window that has not settled they are about the labels that are
in, which may differ from those to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidegauge.metrics import interval
from tidegauge.metrics.calibration import ece_interval
from tidegauge.metrics.interval import LEVEL, Interval
from tidegauge.metrics.performance import ClassCounts, class_counts, classes_of, commonest, is_regression
from tidegauge.metrics.scored_outcomes import scored
from tidegauge.profile.outcome import MAX_OUTSIDE, ConfusionCell, OutcomeProfile
from tidegauge.spec import Task


def performance_intervals(outcome: OutcomeProfile, task: Task | None, positive: str, level: float = LEVEL) -> dict[str, Any]:
    """The intervals of those numbers of ``performance`` that have one, nested in the same way."""
    if is_regression(outcome, task):
        return _known(_regression(outcome, level))
    cells = outcome.cells()
    if task == "multiclass":
        found = multiclass(cells, level)
        found["log_loss"] = interval.mean_loss(
            outcome.sum("class_log_loss"), outcome.sum("class_log_loss_squares"), outcome.sum("class_log_loss_count"), level
        )
    else:
        counts = outcome.derived(classes_of).get(positive, ClassCounts())
        found = {"accuracy": _accuracy(cells, level), **_of_class(counts, level), **_probabilities(outcome, level)}
    return _known(found)


def _known(found: dict[str, Any]) -> dict[str, Any]:
    return {name: of for name, of in found.items() if of is not None and (isinstance(of, dict) or of.is_finite())}


def _accuracy(cells: Sequence[ConfusionCell], level: float) -> Interval | None:
    return interval.wilson(sum(c for p, a, c in cells if p == a), sum(c for _, _, c in cells), level)


def _of_class(counts: ClassCounts, level: float) -> dict[str, Any]:
    hit, predicted, actual = counts
    return {
        "precision": interval.wilson(hit, predicted, level),
        "recall": interval.wilson(hit, actual, level),
        "f1": f1(hit, predicted, actual, level),
    }


def f1(hit: int, predicted: int, actual: int, level: float = LEVEL) -> Interval | None:
    """The interval of F1 = 2 J / (1 + J), where J is the share of hits among everything predicted or actual. J is a plain ratio
    with Wilson's interval, which is better than the delta method if F1 is near 0 or 1.

    >>> [round(x, 3) for x in f1(40, 50, 50)]
    [0.702, 0.872]
    """
    found = interval.wilson(hit, predicted + actual - hit, level)
    return None if found is None else Interval(*(2 * end / (1 + end) for end in found))


def multiclass(cells: Sequence[ConfusionCell], level: float = LEVEL) -> dict[str, Any]:
    """Intervals of accuracy, of each class's numbers, and of macro precision, recall and F1, these by the delta method on
    the multinomial of the confusion matrix (Takahashi, Yamamoto, Kuchiba and Koyama 2022)."""
    names = sorted({p for p, _, _ in cells} | {a for _, a, _ in cells})
    if not names:
        return {}
    place = {name: i for i, name in enumerate(names)}
    predicted = np.array([place[p] for p, _, _ in cells])
    actual = np.array([place[a] for _, a, _ in cells])
    counts = np.array([c for _, _, c in cells], np.float64)
    k, n, right = len(names), counts.sum(), predicted == actual
    hits = np.bincount(predicted[right], counts[right], k)
    said, true = np.bincount(predicted, counts, k), np.bincount(actual, counts, k)
    found: dict[str, Any] = {"accuracy": interval.wilson(float(hits.sum()), float(n), level)}
    for measure, sizes in (("precision", said), ("recall", true), ("f1", said + true)):
        # The denominator of F1 counts a hit twice, as predicted and as actual.
        weight = 2.0 if measure == "f1" else 1.0
        known = np.maximum(sizes, 1.0)
        ratio = weight * hits / known
        value = float(ratio.mean())
        # Derivative of the macro average with respect to one more observation in each cell.
        slope = np.where(right, weight / known[actual], 0.0)
        if measure != "recall":
            slope -= ratio[predicted] / known[predicted]
        if measure != "precision":
            slope -= ratio[actual] / known[actual]
        slope /= k
        variance = float((counts * slope**2).sum() - (counts * slope).sum() ** 2 / n)
        held = sizes > 0
        trials = k * k * (1.0 / (sizes[held] / weight)).sum() ** -1
        found[measure] = interval.within_unit(value, variance, float(trials), level)
    of_class = class_counts(cells)
    found["classes"] = {name: _known(_of_class(of_class[name], level)) for name in commonest(of_class)}
    return found


def _probabilities(outcome: OutcomeProfile, level: float) -> dict[str, Any]:
    held = scored(outcome)
    n = held.outcomes
    if n <= 0 or outcome.no_probability_ratio > MAX_OUTSIDE:
        return {}
    found: dict[str, Any] = {}
    if held.auc is not None and held.auc_variance is not None:
        found["roc_auc"] = interval.within_unit(held.auc, held.auc_variance, min(held.positives, held.negatives), level)
    found["brier"] = interval.mean_loss(outcome.sum("brier"), held.fourths, n, level)
    # Log losses go up to 34, but the histogram ends at 11, so their squares are summed separately.
    squares = outcome.sum("log_loss_squares")
    if squares:
        found["log_loss"] = interval.mean_loss(outcome.sum("log_loss"), squares, n, level)
    found["ece"] = ece_interval(outcome, level)
    return found


def _regression(outcome: OutcomeProfile, level: float) -> dict[str, Any]:
    n, squares = outcome.sum("errors"), outcome.scaled_sum("squares")
    if n < 2:
        return {}
    fourths = outcome.scaled_sum("fourths")
    found = {
        "mae": interval.mean_loss(outcome.sum("absolute"), squares, n, level),
        "rmse": interval.root(interval.mean_loss(squares, fourths, n, level)),
        "bias": interval.mean(outcome.sum("error_sum"), squares, n, level),
        "mape": interval.mean_loss(
            outcome.sum("relative"), outcome.scaled_sum("relative_squares"), outcome.sum("relative_count"), level
        ),
        "r2": _r2(outcome, n, squares, fourths, level),
    }
    return found


def _r2(outcome: OutcomeProfile, n: float, squares: float, fourths: float, level: float) -> Interval | None:
    """Interval of R² by the delta method on 1 - R², a ratio of two means of squares that need not be independent: the
    influence of a row is its squared error less 1 - R² times its squared distance from the mean label."""
    mean = outcome.sum("actual_sum") / n
    second, third = outcome.scaled_sum("actual_squares"), outcome.scaled_sum("actual_cubes")
    spread = second - n * mean * mean
    if spread <= 0 or n < 3:
        return None
    rest = squares / spread
    crossed = outcome.scaled_sum("squares_actual_squares") - 2 * mean * outcome.scaled_sum("squares_actual")
    joint = crossed + mean * mean * squares
    quartic = outcome.scaled_sum("actual_fourths") - 4 * mean * third + 6 * mean**2 * second - 3 * n * mean**4
    influence = fourths - 2 * rest * joint + rest * rest * quartic
    if influence <= 0:
        return None
    found = interval.positive(rest, influence * n / (n - 2) / spread / spread, n - 2, level)
    return None if found is None else Interval(1 - found.high, 1 - found.low)
