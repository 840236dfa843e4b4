"""The streams of single values that online detectors read, and the hour of the week that each value belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.outcome_rows import OutcomeColumns

OUTCOMES = ("error", "abs_error")
"""The streams that need labels."""
PREDICTIONS = ("score", "latency_ms")
"""The streams that need no labels."""
HOURS = 168
"""The hours of a week. The Unix epoch began on a Thursday at 0 h UTC, which is hour 0."""


def outcome_values(columns: OutcomeColumns, stream: str) -> NDArray[np.float64]:
    """The values (n) of the stream ``error`` (1 if the class is wrong, else 0) or ``abs_error`` (the absolute error of the
    number, or of the score as an estimate of a binary outcome); NaN where there is no value."""
    if stream == "error":
        pairs = list(zip(columns.predicted, columns.actual, strict=True))
        wrong = {pair: np.nan if None in pair else float(pair[0] != pair[1]) for pair in set(pairs)}
        return np.fromiter(map(wrong.__getitem__, pairs), np.float64, len(pairs))
    numbers = columns.numbers
    if numbers is not None and not np.isnan(numbers).all():
        return np.asarray(np.abs(numbers[0] - numbers[1]))
    return np.where(columns.positive >= 0, np.abs(columns.score - columns.positive), np.nan)


def hour_of_week(times: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The hour of the week (0 to 167, from Thursday 0 h UTC) of each time (n, Unix seconds). Its remainder by 24 is the hour of
    the day.

    >>> hour_of_week(np.array([0.0, 3600.0 * 25, 604800.0])).tolist()
    [0, 25, 0]
    """
    return np.asarray(times // 3600 % HOURS, np.uint8)
