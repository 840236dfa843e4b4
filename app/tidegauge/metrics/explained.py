"""Divides a change of performance into the part that the shift of the inputs explains, and the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tidegauge.baseline.isotonic import ECE_BINS, Calibration
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.data import PREDICTED_NEGATIVE, PREDICTED_NONE, PREDICTED_POSITIVE
from tidegauge.profile.score_grid import SCORE_BINS, SCORES


class Explained(NamedTuple):
    """A change of a number from its baseline value, in the number's unit. ``expected``: the value that follows from the scores;
    ``shift``: the part of the change that this explains; ``remaining``: the rest; ``share``: the explained share (0 to 1)."""

    expected: float
    shift: float
    remaining: float
    share: float


def expected_losses(scores: SparseCounts, calibration: Calibration | None) -> dict[str, float]:
    """The expected Brier score, log loss and calibration error of a binary model, if each score means the same as in the
    baseline (``calibration``); {} if that is unknown.

    They complete the ratios of ``estimated`` by the same idea: a prediction with score s is positive with probability c(s), so
    its expected squared error is c (1 - s)² + (1 - c) s².
    """
    if calibration is None or not len(scores.keys):
        return {}
    bins, counts = scores.aligned((PREDICTED_POSITIVE, PREDICTED_NEGATIVE, PREDICTED_NONE), SCORE_BINS)
    weight = counts.sum(axis=0)
    if not weight.sum():
        return {}
    weight = weight / weight.sum()
    score, truth = SCORES[bins], calibration.probability[bins]
    clipped = np.clip(score, 1e-15, 1 - 1e-15)
    excess = np.zeros(ECE_BINS)
    np.add.at(excess, np.minimum((score * ECE_BINS).astype(int), ECE_BINS - 1), weight * (score - truth))
    return {
        "brier": float(weight @ (truth * (1 - score) ** 2 + (1 - truth) * score**2)),
        "log_loss": float(-(weight @ (truth * np.log(clipped) + (1 - truth) * np.log1p(-clipped)))),
        "ece": float(np.abs(excess).sum()),
    }


def explained(value: float, before: float, expected: float) -> Explained:
    """The part of the change from ``before`` to ``value`` that the ``expected`` value explains.

    >>> explained(0.70, 0.80, 0.78)
    Explained(expected=0.78, shift=-0.02, remaining=-0.08, share=0.2)
    """
    change, shift = value - before, expected - before
    share = min(max(shift / change, 0.0), 1.0) if change else 0.0
    return Explained(expected, round(shift, 12), round(value - expected, 12), round(share, 12))
