"""Calibration: whether events with a score of 0.3 happen in 30 % of cases. Computes reliability bins, the decomposition of the
Brier score, and a test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import chdtrc, ndtri

from tidegauge.metrics.interval import LEVEL, Interval, wilson
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile
from tidegauge.profile.score_counts import CALIBRATED, CALIBRATION_BINS

MIN_EXPECTED = 5.0
"""Bins in which fewer positives or negatives than this are expected are pooled for the test."""

_SCORE_SUMS = tuple(f"score_{number}" for number in range(CALIBRATION_BINS))


class Reliability:
    """Outcomes in ten bins of equal width by their score: their ``counts`` (10), the sums of their scores (10), and the counts
    of positives (10), all floats. ``excess`` (10): the number of positives that the scores predict minus the number that
    occurred; ``variance`` (10): of the number of positives if every score were a true probability, from the bin's mean
    score."""

    __slots__ = ("counts", "excess", "positives", "score_sums", "variance")

    def __init__(self, outcome: OutcomeProfile) -> None:
        self.positives = outcome.histograms.dense(CALIBRATED + CALIBRATION_BINS, CALIBRATION_BINS).astype(np.float64)
        self.counts = outcome.histograms.dense(CALIBRATED, CALIBRATION_BINS) + self.positives
        self.score_sums = np.array([outcome.sum(name) for name in _SCORE_SUMS])
        self.excess = self.score_sums - self.positives
        mean = np.minimum(np.maximum(self.score_sums / np.maximum(self.counts, 1.0), 0.0), 1.0)
        self.variance = self.counts * mean * (1.0 - mean)


def calibration_numbers(outcome: OutcomeProfile, level: float = LEVEL, *, bins: bool = True) -> dict[str, Any]:
    """The ``calibration`` member of a record; {} without outcomes that have a score. ``bins``: include the reliability diagram.

    ``reliability`` - ``resolution`` + ``uncertainty`` (Murphy 1973) + ``within_bin_variance`` - ``within_bin_covariance``
    (Stephenson, Coelho and Jolliffe 2008) is the Brier score to the last bit of rounding. ``p_value`` is Hosmer and
    Lemeshow's (1980) with one degree of freedom a bin, since the scores were not fitted to these outcomes.
    """
    held = outcome.derived(Reliability)
    n = float(held.counts.sum())
    if n <= 0 or outcome.no_probability_ratio > MAX_OUTSIDE:
        return {}
    rate = held.positives.sum() / n
    live = np.flatnonzero(held.counts)
    counts, positives = held.counts[live], held.positives[live]
    means, ratios = held.score_sums[live] / counts, positives / counts
    numbers: dict[str, Any] = {
        "reliability": float((counts * (means - ratios) ** 2).sum() / n),
        "resolution": float((counts * (ratios - rate) ** 2).sum() / n),
        "uncertainty": float(rate * (1 - rate)),
    }
    squares = outcome.sum("score_squares")
    if squares:
        binned = numbers["reliability"] - numbers["resolution"] + numbers["uncertainty"]
        variance = max(float((squares - (counts * means**2).sum()) / n), 0.0)
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
            "mean_score": float(mean),
            "positive_ratio": float(ratio),
            "interval": wilson(float(hits), float(count), level),
        }
        for place, count, mean, ratio, hits in zip(live.tolist(), counts, means, ratios, positives, strict=True)
    ]
    return numbers


def reliability_p_value(held: Reliability) -> float | None:
    """The p-value of the hypothesis that every score is the true probability, from the bins; neighbouring bins are pooled if
    too few of either class are expected. If all scores are 0 or 1, a single wrong one refutes the hypothesis."""
    groups: list[tuple[float, float]] = []
    excess = variance = likely = unlikely = 0.0
    columns = (held.excess, held.variance, held.score_sums, held.counts - held.score_sums)
    parts = zip(*(column.tolist() for column in columns), strict=True)
    for more, spread, positives, negatives in parts:
        excess, variance = excess + more, variance + spread
        likely, unlikely = likely + positives, unlikely + negatives
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
    held = outcome.derived(Reliability)
    n = float(held.counts.sum())
    if n < 2:
        return None
    ece = float(np.abs(held.excess).sum() / n)
    reach = float(ndtri(0.5 + level / 2)) * math.sqrt(max(outcome.sum("brier") / n - ece * ece, 0.0) / n)
    chance = float(np.sqrt(2 / math.pi * held.variance).sum() / n)
    return Interval(max(0.0, ece - chance - reach), min(1.0, ece + reach))
