"""Calibration: whether events with a score of 0.3 happen in 30 % of cases. Computes reliability bins, the decomposition of the
Brier score, and a test."""

from __future__ import annotations

import math
from typing import Any

from tidegauge.metrics.interval import LEVEL, Interval, normal_quantile, wilson
from tidegauge.metrics.scored_outcomes import scored
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile
from tidegauge.profile.score_counts import CALIBRATION_BINS


def calibration_numbers(outcome: OutcomeProfile, level: float = LEVEL, *, bins: bool = True) -> dict[str, Any]:
    """The ``calibration`` member of a record; {} without outcomes that have a score. ``bins``: include the reliability diagram.

    ``reliability`` - ``resolution`` + ``uncertainty`` (Murphy 1973) + ``within_bin_variance`` - ``within_bin_covariance``
    (Stephenson, Coelho and Jolliffe 2008) is the Brier score to the last bit of rounding. ``p_value`` is Hosmer and
    Lemeshow's (1980) with one degree of freedom a bin, since the scores were not fitted to these outcomes.
    """
    found = scored(outcome)
    held, n = found.reliability, found.outcomes
    if n <= 0 or outcome.no_probability_ratio > MAX_OUTSIDE:
        return {}
    numbers: dict[str, Any] = {
        "reliability": held.reliability,
        "resolution": held.resolution,
        "uncertainty": held.uncertainty,
    }
    squares = outcome.sum("score_squares")
    if squares:
        binned = held.reliability - held.resolution + held.uncertainty
        variance = max(squares / n - held.mean_square, 0.0)
        numbers["within_bin_variance"] = variance
        numbers["within_bin_covariance"] = variance - (outcome.sum("brier") / n - binned)
    if held.p_value is not None:
        numbers["p_value"] = held.p_value
    if not bins:
        return numbers
    numbers["bins"] = [
        {
            "low": place / CALIBRATION_BINS,
            "high": (place + 1) / CALIBRATION_BINS,
            "count": int(count),
            "mean_score": score_sum / count,
            "positive_ratio": positives / count,
            "interval": wilson(positives, count, level),
        }
        for place, (count, score_sum, positives) in enumerate(zip(held.counts, held.score_sums, held.positives, strict=True))
        if count
    ]
    return numbers


def ece_interval(outcome: OutcomeProfile, level: float = LEVEL) -> Interval | None:
    """A conservative interval of the expected calibration error. If the sign of every bin's error were known, the variance of
    the estimate would be (Brier - ECE²) / n. Taking absolute values makes the estimate too large, by at most its mean for
    perfectly calibrated scores, so the lower bound is reduced by that much."""
    found = scored(outcome)
    held, n = found.reliability, found.outcomes
    if n < 2:
        return None
    reach = normal_quantile(level) * math.sqrt(max(outcome.sum("brier") / n - held.ece * held.ece, 0.0) / n)
    return Interval(max(0.0, held.ece - held.chance - reach), min(1.0, held.ece + reach))
