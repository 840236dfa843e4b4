"""What outcomes with a score add to sums and histograms, and what changes there if the score is read the other way."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.score_grid import SCORE_BINS, score_bins

CALIBRATION_BINS = 10
NEGATIVE, POSITIVE, CALIBRATED, SCORED = 0, SCORE_BINS, 2 * SCORE_BINS, 2 * SCORE_BINS + 2 * CALIBRATION_BINS
"""Where each histogram begins in their common key space: the scores of negatives, those of positives, and the ten calibration
bins of negatives and then of positives; and where the last one ends."""
LOG_CLIP = 1e-15
OTHER_READING = "other_reading:"
"""Put before the name of a sum to form the name of what to add to it if the score is read the other way."""


def score_sums(p: NDArray[np.float64], y: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Name → the terms (n) of the sum, for scores ``p`` (n) in [0, 1] and outcomes ``y`` (n): 1 positive, 0 negative."""
    clipped = np.clip(p, LOG_CLIP, 1 - LOG_CLIP)
    loss = -np.log(np.where(y == 1, clipped, 1 - clipped))
    return {"brier": (p - y) ** 2, "log_loss": loss, "log_loss_squares": loss * loss, "score_squares": p * p}


def score_keys(p: NDArray[np.float64], y: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The keys (n) in the score histogram, and the keys (n) in that of the calibration bins."""
    return [np.where(y == 1, POSITIVE, NEGATIVE) + score_bins(p), CALIBRATED + y * CALIBRATION_BINS + tenths(p)]


def tenths(p: NDArray[np.float64]) -> NDArray[np.int64]:
    """The calibration bins (n; 0 to 9) of scores in [0, 1]."""
    return np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def other_sums(p: NDArray[np.float64], other: NDArray[np.float64], y: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Name → how much the terms (n) of the sum change if the score is ``other`` (n) instead of ``p`` (n)."""
    before, after = score_sums(p, y), score_sums(other, y)
    found = {name: after[name] - before[name] for name in before}
    was, becomes = tenths(p), tenths(other)
    for tenth in np.union1d(was, becomes).tolist():
        found[f"score_{tenth}"] = np.where(becomes == tenth, other, 0.0) - np.where(was == tenth, p, 0.0)
    return {OTHER_READING + name: terms for name, terms in found.items()}
