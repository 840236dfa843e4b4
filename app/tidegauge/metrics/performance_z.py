"""The difference between a window's performance and the baseline's in standard errors.

The standard error is computed from the baseline's labels, for as many labels as the window has. A standard error from the
window itself would be smallest when performance happens to look best.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scipy.special import ndtri

from tidegauge.baseline.baseline import Baseline, KnownNumber
from tidegauge.metrics.interval import LEVEL, Interval
from tidegauge.metrics.performance import performance
from tidegauge.metrics.performance_interval import performance_intervals
from tidegauge.spec import ModelSpec

RATIOS = frozenset(("accuracy", "precision", "recall", "f1", "roc_auc"))
LOSSES = frozenset(("brier", "log_loss", "mae", "rmse", "mape"))
BIASED = "ece"
"""This metric is larger on average the fewer labels it is computed from, so a window's value does not vary around the
baseline's."""


def performance_z(numbers: Mapping[str, Any], labels: int, baseline: Baseline | None, spec: ModelSpec) -> dict[str, float]:
    """Standard scores of performance ``numbers`` computed from so many ``labels``, for each number that has an interval."""
    if baseline is None or not numbers or not baseline.outcome.labels:
        return {}
    if baseline.performance_errors is None:
        baseline.performance_errors = _errors(baseline, spec)
    scale = math.sqrt(baseline.outcome.labels / labels + 1)
    known = baseline.performance_errors
    return {
        name: (value - known[name].value) / (known[name].error * scale)
        for name, value in sorted(numbers.items())
        if name in known
    }


def skewness(name: str, value: float, error: float) -> float:
    """The skewness of a performance number around ``value`` with this standard error: for a ratio that of the binomial
    distribution, for an AUC as if its logit were normal, for a loss as if its logarithm were normal.

    >>> skewness("accuracy", 0.5, 0.1), round(skewness("roc_auc", 0.8, 0.02), 3), round(skewness("brier", 0.15, 0.01), 3)
    (0.0, -0.225, 0.2)
    """
    if name in RATIOS and 0 < value < 1:
        return (3 if name == "roc_auc" else 1) * (1 - 2 * value) * error / (value * (1 - value))
    return 3 * error / value if name in LOSSES and value > 0 else 0.0


def _errors(baseline: Baseline, spec: ModelSpec) -> dict[str, KnownNumber]:
    """Value and standard error of each of the baseline's performance numbers."""
    values = performance(baseline.outcome, spec.task, spec.positive_label)
    intervals = performance_intervals(baseline.outcome, spec.task, spec.positive_label)
    reach = 2 * float(ndtri(0.5 + LEVEL / 2))
    found = {}
    for name, value in values.items():
        held = intervals.get(name)
        if isinstance(held, Interval) and name != BIASED and held.high > held.low:
            found[name] = KnownNumber(value, (held.high - held.low) / reach)
    return found
