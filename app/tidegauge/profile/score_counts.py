"""What outcomes with a score add to sums and histograms: as it is read, and what another reading of it would change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.score_grid import SCORE_BINS, score_bins

CALIBRATION_BINS = 10
NEGATIVE, POSITIVE, CALIBRATED, SCORED = 0, SCORE_BINS, 2 * SCORE_BINS, 2 * SCORE_BINS + 2 * CALIBRATION_BINS
"""Where each histogram begins in their joint key space: scores of negatives and positives, the ten calibration bins of
negatives and of positives; and where they end."""
LOG_CLIP = 1e-15
OTHER_READING = "other_reading:"
"""Before the name of a sum: what has to be added to it where the score is read the other way."""


def score_sums(p: NDArray[np.float64], y: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """The terms (n) of the sums of scores ``p`` in [0, 1] that came true (``y`` 1) or not (0)."""
    clipped = np.clip(p, LOG_CLIP, 1 - LOG_CLIP)
    loss = -np.log(np.where(y == 1, clipped, 1 - clipped))
    return {"brier": (p - y) ** 2, "log_loss": loss, "log_loss_squares": loss * loss, "score_squares": p * p}


def score_keys(p: NDArray[np.float64], y: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The keys (n) of the score histogram and of the calibration bins."""
    return [np.where(y == 1, POSITIVE, NEGATIVE) + score_bins(p), CALIBRATED + y * CALIBRATION_BINS + tenths(p)]


def tenths(p: NDArray[np.float64]) -> NDArray[np.int64]:
    """The calibration bins (n) of scores in [0, 1]."""
    return np.minimum((p * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def other_sums(p: NDArray[np.float64], other: NDArray[np.float64], y: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """By how much the terms (n) of all sums change where ``other`` is read in place of ``p``."""
    before, after = score_sums(p, y), score_sums(other, y)
    found = {name: after[name] - before[name] for name in before}
    was, becomes = tenths(p), tenths(other)
    for tenth in np.union1d(was, becomes).tolist():
        found[f"score_{tenth}"] = np.where(becomes == tenth, other, 0.0) - np.where(was == tenth, p, 0.0)
    return {OTHER_READING + name: terms for name, terms in found.items()}
