"""Calibration: whether what was scored 0.3 comes true in 30 % of cases. Reliability bins, the parts of the Brier score, a
test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtri

from tidegauge.metrics.interval import LEVEL, Interval, wilson
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile
from tidegauge.profile.score_counts import CALIBRATED, CALIBRATION_BINS

MIN_EXPECTED = 5.0
"""A bin is tested only with at least this many positives and negatives expected; smaller ones are pooled."""


class Reliability:
    """Outcomes in ten bins of equal width by their score: how many (``counts``), the sum of their scores, and how many were
    positive (10 each, floats)."""

    __slots__ = ("counts", "positives", "score_sums")

    def __init__(self, outcome: OutcomeProfile) -> None:
        self.positives = outcome.histograms.dense(CALIBRATED + CALIBRATION_BINS, CALIBRATION_BINS).astype(np.float64)
        self.counts = outcome.histograms.dense(CALIBRATED, CALIBRATION_BINS) + self.positives
        self.score_sums = np.array([outcome.sum(f"score_{b}") for b in range(CALIBRATION_BINS)])

    @property
    def excess(self) -> NDArray[np.float64]:
        """By how many cases the scores of each bin (10) claim more than came true."""
        return self.score_sums - self.positives

    @property
    def variance(self) -> NDArray[np.float64]:
        """Variance of the number of positives in each bin (10) if every score were a true probability, from the bin's mean
        score."""
        mean = np.clip(self.score_sums / np.maximum(self.counts, 1.0), 0.0, 1.0)
        return self.counts * mean * (1.0 - mean)


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
    """P-value of "every score is true" on the bins, neighbours pooled where too few of either class are expected. Scores that
    are all 0 or 1 leave nothing to chance: one that was wrong refutes them."""
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
    """Interval of the expected calibration error, conservative. If the sign of every bin's error were known, the variance of
    the estimate would be (Brier - ECE²) / n. The lower end is lowered further by what chance alone adds when every score is
    true, since taking absolute values makes the estimate too large by at most that much."""
    held = outcome.derived(Reliability)
    n = float(held.counts.sum())
    if n < 2:
        return None
    ece = float(np.abs(held.excess).sum() / n)
    reach = float(ndtri(0.5 + level / 2)) * math.sqrt(max(outcome.sum("brier") / n - ece * ece, 0.0) / n)
    chance = float(np.sqrt(2 / math.pi * held.variance).sum() / n)
    return Interval(max(0.0, ece - chance - reach), min(1.0, ece + reach))
