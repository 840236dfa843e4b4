"""Calibration: whether events with a score of 0.3 happen in 30 % of cases. Computes reliability bins, the decomposition of the
Brier score, and a test."""

from __future__ import annotations

import math
from typing import Any

from scipy.special import chdtrc

from tidegauge.metrics.interval import LEVEL, Interval, normal_quantile, wilson
from tidegauge.metrics.scored_outcomes import Reliability, scored
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile
from tidegauge.profile.score_counts import CALIBRATION_BINS

MIN_EXPECTED = 5.0
"""Bins in which fewer positives or negatives than this are expected are pooled for the test."""


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
    p_value = reliability_p_value(held)
    if p_value is not None:
        numbers["p_value"] = p_value
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


def reliability_p_value(held: Reliability) -> float | None:
    """The p-value of the hypothesis that every score is the true probability, from the bins; neighbouring bins are pooled if
    too few of either class are expected. If all scores are 0 or 1, a single wrong one refutes the hypothesis."""
    groups: list[tuple[float, float]] = []
    excess = variance = likely = unlikely = 0.0
    for more, spread, positives, count in zip(held.excess, held.variance, held.score_sums, held.counts, strict=True):
        excess, variance = excess + more, variance + spread
        likely, unlikely = likely + positives, unlikely + (count - positives)
        if min(likely, unlikely) >= MIN_EXPECTED:
            groups.append((excess, variance))
            excess = variance = likely = unlikely = 0.0
    if not groups:
        return None
    groups[-1] = (groups[-1][0] + excess, groups[-1][1] + variance)
    if any(of and not spread for of, spread in groups):
        return 0.0
    return float(chdtrc(len(groups), sum(of * of / spread for of, spread in groups if spread)))


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
