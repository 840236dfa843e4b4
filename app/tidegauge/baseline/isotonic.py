"""Calibrates scores to probabilities, by isotonic regression on the score histograms of positives and negatives, if it
helps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.roc import roc_auc
from tidegauge.profile.score_grid import SCORES

MIN_LABELS = 300
"""A calibration needs at least this many labels, and at least MIN_CLASS of each class."""
MIN_CLASS = 30
SEPARATED_AUC = 0.999
"""Scores that separate the classes this well are not calibrated, since there is nothing between the classes to fit."""
SPLITS, TEST_SHARE, ECE_BINS, SEED = 10, 0.1, 10, 42


class Calibration:
    """What a score means. ``probability`` (SCORE_BINS): of a positive outcome, for each score bin; ``helps``: whether it
    differs from the score itself, because reference labels showed that to be the better estimate."""

    __slots__ = ("helps", "probability")

    def __init__(self, probability: NDArray[np.float64], helps: bool) -> None:
        self.probability, self.helps = probability, helps


def calibration_of(outcome: OutcomeProfile) -> Calibration | None:
    """The calibration that follows from reference outcomes; None if there are too few.

    Isotonic regression (Barlow et al. 1972; of scores: Zadrozny and Elkan 2002), linear between the score bins that were
    seen. It is used only if it lowers the expected calibration error of held-out labels, over ten stratified splits, as
    NannyML decides it. The splits are drawn from the histograms with a fixed seed, so that the answer is always the same.
    """
    scores, positives, negatives = outcome.scored()
    p, n = int(positives.sum()), int(negatives.sum())
    if p + n < MIN_LABELS:
        return None
    auc = roc_auc(positives, negatives)
    if min(p, n) < MIN_CLASS or (auc is not None and auc > SEPARATED_AUC) or not _improves(scores, positives, negatives):
        return Calibration(SCORES, False)
    return Calibration(fit(scores, positives, negatives, SCORES), True)


def fit(
    scores: NDArray[np.float64], positives: NDArray[np.int64], negatives: NDArray[np.int64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The probability of a positive at the scores ``at``, from the counts (B) of positives and negatives at ascending
    ``scores`` (B); scores without counts are passed over.

    >>> counts = np.array([[1, 5, 3], [9, 5, 3]])
    >>> fit(np.array([0.2, 0.4, 0.6]), *counts, at=np.array([0.1, 0.3, 0.9])).round(3).tolist()
    [0.1, 0.3, 0.5]
    """
    weights = positives + negatives
    seen = weights > 0
    from scipy.optimize import isotonic_regression

    fitted = isotonic_regression(positives[seen] / weights[seen], weights=weights[seen]).x
    return np.asarray(np.interp(at, scores[seen], fitted))


def _improves(scores: NDArray[np.float64], positives: NDArray[np.int64], negatives: NDArray[np.int64]) -> bool:
    random = np.random.default_rng(SEED)
    true: list[NDArray[np.int64]] = []
    false: list[NDArray[np.int64]] = []
    after: list[NDArray[np.float64]] = []
    for _ in range(SPLITS):
        held = [
            random.multivariate_hypergeometric(counts, round(TEST_SHARE * int(counts.sum())), method="marginals")
            for counts in (positives, negatives)
        ]
        true.append(held[0])
        false.append(held[1])
        after.append(fit(scores, positives - held[0], negatives - held[1], scores))
    hits, misses = np.concatenate(true), np.concatenate(false)
    before = expected_calibration_error(np.tile(scores, SPLITS), hits, misses)
    return expected_calibration_error(np.concatenate(after), hits, misses) < before


def expected_calibration_error(
    probability: NDArray[np.float64], positives: NDArray[np.int64], negatives: NDArray[np.int64]
) -> float:
    """Mean distance of probability and outcome over ECE_BINS bins of equal counts. All arrays are (B): the probability
    of each cell and the outcomes counted there; a cell lies in one bin whole.

    >>> round(expected_calibration_error(np.array([0.2, 0.8]), np.array([1, 9]), np.array([9, 1])), 3)
    0.1
    """
    order = np.argsort(probability, kind="stable")
    order = order[(positives + negatives)[order] > 0]
    weights = (positives + negatives)[order]
    total = weights.sum()
    bins = ((np.cumsum(weights) - 0.5 * weights) * ECE_BINS / total).astype(np.int64)
    gap = positives[order] - probability[order] * weights
    return float(np.abs(np.bincount(bins, gap)).sum() / total)
