"""Fairness over the values of a segment dimension: the gaps between them, and p-values that say whether they may be chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from tidegauge.metrics.positive_class import actual_classes, unknown_class_ratio
from tidegauge.metrics.scored_outcomes import scored
from tidegauge.profile.outcome import MAX_OUTSIDE, ConfusionCell, OutcomeProfile
from tidegauge.spec import Task

MIN_DENOMINATOR = 20
"""A rate is compared only if its denominator (for the true positive rate, the number of positives) is at least this."""
MEASURES = ("accuracy", "selection_rate", "true_positive_rate", "false_positive_rate", "precision", "calibration")
DISPARATE_IMPACT = "disparate_impact_ratio"


def fairness(segments: Mapping[str, OutcomeProfile], task: Task | None, positive: str, min_count: int) -> dict[str, Any]:
    """Compare the values of one dimension. ``segments``: the outcomes by value; values with fewer than ``min_count`` labels are
    left out.

    For each measure, ``…_gap`` is its largest minus its smallest value, and ``…_gap_p_value`` the p-value of the hypothesis
    that all segment values have the same rate. ``disparate_impact_ratio`` is the smallest selection rate divided by the largest
    (the four-fifths rule requires 0.8). ``extremes`` maps each measure to the segment values with the smallest and the largest.
    A gap needs at least two segment values.
    """
    if task == "regression":
        return {}
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    calibrated: dict[str, tuple[float, float]] = {}
    said_by = _said_by(None if task == "multiclass" else positive)
    for value, outcome in segments.items():
        total, rates, excess = outcome.derived(said_by)
        if total < min_count or not total:
            continue
        for measure, of in rates.items():
            if of[1] >= min(MIN_DENOMINATOR, min_count):
                counts.setdefault(measure, {})[value] = of
        if excess is not None:
            calibrated[value] = excess
    numbers: dict[str, Any] = {}
    extremes: dict[str, list[str]] = {}
    for measure, by_value in counts.items():
        if len(by_value) < 2:
            continue
        hits, trials = np.array(list(by_value.values()), np.float64).T
        _compare(numbers, extremes, measure, list(by_value), hits / trials, rates_p_value(hits, trials))
        if measure == "selection_rate" and hits.any():
            rates = hits / trials
            numbers[DISPARATE_IMPACT] = float(rates.min() / rates.max())
    if len(calibrated) >= 2:
        means, variances = np.array(list(calibrated.values())).T
        _compare(numbers, extremes, "calibration", list(calibrated), means, means_p_value(means, variances))
    if extremes:
        numbers["extremes"] = extremes
    return numbers


def _compare(
    numbers: dict[str, Any], extremes: dict[str, list[str]], measure: str, values: list[str],
    of: NDArray[np.float64], p_value: float | None,
) -> None:  # fmt: skip
    least, most = int(of.argmin()), int(of.argmax())
    numbers[f"{measure}_gap"] = float(of[most] - of[least])
    if p_value is not None:
        numbers[f"{measure}_gap_p_value"] = p_value
    extremes[measure] = [values[least], values[most]]


class _Said(NamedTuple):
    """What outcomes say of a segment: their ``total``, the hits and trials of each rate, and the excess of the scores."""

    total: int
    rates: dict[str, tuple[int, int]]
    excess: tuple[float, float] | None


@lru_cache(64)
def _said_by(positive: str | None) -> Callable[[OutcomeProfile], _Said]:
    """What computes it for this positive class. It is the same function each time, so that its results are cached: most
    segments have not changed when all are compared anew."""

    def said(outcome: OutcomeProfile) -> _Said:
        cells = outcome.cells()
        total = sum(count for _, _, count in cells)
        if not total:
            return _Said(0, {}, None)
        known = positive is not None and unknown_class_ratio(outcome.derived(actual_classes), positive) <= MAX_OUTSIDE
        return _Said(total, _rates(cells, total, positive if known else None), _excess(outcome))

    return said


def _rates(cells: Sequence[ConfusionCell], total: int, positive: str | None) -> dict[str, tuple[int, int]]:
    """Hits and trials of each rate. Without a ``positive`` class there is only the accuracy."""
    found = {"accuracy": (sum(c for p, a, c in cells if p == a), total)}
    if positive is not None:
        selected = sum(c for p, _, c in cells if p == positive)
        actual = sum(c for _, a, c in cells if a == positive)
        hit = sum(c for p, a, c in cells if p == a == positive)
        found["selection_rate"] = (selected, total)
        found["true_positive_rate"] = (hit, actual)
        found["false_positive_rate"] = (selected - hit, total - actual)
        found["precision"] = (hit, selected)
    return found


def _excess(outcome: OutcomeProfile) -> tuple[float, float] | None:
    """The difference between the mean score and the share of positives, and its variance; None for fewer than MIN_DENOMINATOR
    scored labels."""
    found = scored(outcome)
    n = found.outcomes
    if n < MIN_DENOMINATOR:
        return None
    mean = sum(found.reliability.excess) / n
    return mean, max(outcome.sum("brier") / n - mean * mean, 0.0) / n


def rates_p_value(hits: NDArray[np.float64], trials: NDArray[np.float64]) -> float:
    """The p-value of the hypothesis that K ratios ``hits / trials`` (K) have one rate: Pearson's chi-square test if its
    conditions hold (Cochran 1954: at least 1 expected in every cell and at least 5 in four fifths of them), otherwise Fisher's
    exact test of the two extremes, multiplied by the number of pairs (Bonferroni).

    >>> round(rates_p_value(np.array([60.0, 80.0]), np.array([100.0, 100.0])), 5)
    0.00203
    """
    rate = hits.sum() / trials.sum()
    if rate in (0.0, 1.0):
        return 1.0
    expected = np.concatenate((trials * rate, trials * (1 - rate)))
    if expected.min() >= 1 and (expected >= 5).mean() >= 0.8:
        statistic = float(((hits - trials * rate) ** 2 / (trials * rate * (1 - rate))).sum())
        return float(chdtrc(len(hits) - 1, statistic))
    order = np.argsort(hits / trials)
    table = [[int(hits[i]), int(trials[i] - hits[i])] for i in (order[0], order[-1])]
    # scipy.stats takes 40 MB and a second to load, and few models need it.
    from scipy.stats import fisher_exact

    return min(1.0, float(fisher_exact(table)[1]) * len(hits) * (len(hits) - 1) / 2)


def means_p_value(means: NDArray[np.float64], variances: NDArray[np.float64]) -> float | None:
    """The p-value of the hypothesis that K means with sampling ``variances`` (K) are equal, by Cochran's Q test (1954). None if
    a variance is not positive.

    >>> round(means_p_value(np.array([0.0, 0.2]), np.array([0.005, 0.005])), 4)
    0.0455
    """
    if not (variances > 0).all():
        return None
    weights = 1 / variances
    common = (weights * means).sum() / weights.sum()
    return float(chdtrc(len(means) - 1, (weights * (means - common) ** 2).sum()))
