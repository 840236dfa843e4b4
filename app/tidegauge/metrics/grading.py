"""Measures how far estimates can be trusted: compares each with the performance that labels later show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

MIN_LABELS = 30
"""Windows with fewer labels are not used, since their realised performance is too uncertain."""
UNITS = 10**9
"""Absolute errors are summed as integers in billionths, so that a restated error can be subtracted without a trace."""

Errors = dict[str, float]


class ErrorTotal(NamedTuple):
    """The number of graded windows, and the sum of the absolute errors of their estimates in 1/UNITS."""

    windows: int
    units: int


class Grades(msgspec.Struct):
    """The graded estimates of one version: by window length and metric, the total of their errors."""

    totals: dict[str, dict[str, ErrorTotal]] = msgspec.field(default_factory=dict)

    def replace(self, window: str, old: Errors, new: Errors) -> None:
        """Replace the errors of one window of this length: ``old`` by ``new``. {} means that the window has no errors."""
        totals = self.totals.setdefault(window, {})
        for errors, sign in ((old, -1), (new, 1)):
            for metric, error in errors.items():
                windows, units = totals.get(metric, ErrorTotal(0, 0))
                totals[metric] = ErrorTotal(windows + sign, units + sign * round(abs(error) * UNITS))

    def mean_absolute_error(self, window: str) -> dict[str, float]:
        """The mean absolute error by metric over the graded windows of this length, with the number of ``windows``; {} if there
        are none.

        >>> grades = Grades()
        >>> grades.replace("1d", {}, {"accuracy": 0.02})
        >>> grades.replace("1d", {}, {"accuracy": -0.04})
        >>> grades.mean_absolute_error("1d")
        {'windows': 2, 'accuracy': 0.03}
        """
        graded = {metric: of for metric, of in self.totals.get(window, {}).items() if of.windows}
        if not graded:
            return {}
        means = {metric: of.units / of.windows / UNITS for metric, of in sorted(graded.items())}
        return {"windows": max(of.windows for of in graded.values())} | means


def estimate_error(record: Mapping[str, Any]) -> Errors:
    """The estimated minus the realised value of every metric of which a settled window has both; {} if it has not settled or
    has few labels.

    >>> record = {"settled": True, "labels": 50, "estimated": {"accuracy": 0.75}, "performance": {"accuracy": 0.5}}
    >>> estimate_error(record), estimate_error({**record, "settled": False})
    ({'accuracy': 0.25}, {})
    """
    if not record["settled"] or record["labels"] < MIN_LABELS:
        return {}
    realised = record.get("performance", {})
    return {
        metric: value - realised[metric]
        for metric, value in record.get("estimated", {}).items()
        if metric in realised and isinstance(value, float)
    }
