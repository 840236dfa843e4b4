"""Performance without labels: confidence-based performance estimation from score histograms."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.isotonic import Calibration
from tidegauge.profile.counts import SparseCounts
from tidegauge.profile.data import PREDICTED_NEGATIVE, PREDICTED_NONE, PREDICTED_POSITIVE
from tidegauge.profile.score_grid import SCORE_BINS, SCORES
from tidegauge.spec import Task


def estimated(scores: SparseCounts, calibration: Calibration | None, task: Task | None) -> dict[str, Any]:
    """The ``estimated`` member of a record: performance estimated from scores; {} if it cannot be estimated.

    A prediction with score s counts as right with the probability that s stands for (confidence-based performance estimation,
    NannyML 2022), so expected confusion counts, and ratios of them, follow from histograms of scores. This holds as long as the
    relation between scores and outcomes is that of the baseline. ``calibration``: the relation in the baseline; None if it has
    too few labels. For a multiclass model only the accuracy is estimated, from the confidence in the predicted class.
    """
    if task == "regression" or not len(scores.keys):
        return {}
    bins, counts = scores.aligned((PREDICTED_POSITIVE, PREDICTED_NEGATIVE, PREDICTED_NONE), SCORE_BINS)
    probability = (SCORES if calibration is None else calibration.probability)[bins]
    positive, negative, undecided = counts
    everything = positive + negative + undecided
    numbers: dict[str, Any] = {"count": int(everything.sum()), "calibration": _word(calibration)}
    true_positives, positives = float(positive @ probability), int(positive.sum())
    false_negatives, negatives = float(negative @ probability), int(negative.sum())
    if positives + negatives:
        numbers["accuracy"] = (true_positives + negatives - false_negatives) / (positives + negatives)
    if task == "multiclass":
        return numbers if positives else {}
    if positives:
        numbers["precision"] = true_positives / positives
    if positives + negatives and true_positives + false_negatives > 0:
        numbers["recall"] = true_positives / (true_positives + false_negatives)
        numbers["f1"] = 2 * true_positives / (positives + true_positives + false_negatives)
    auc = expected_roc_auc(everything, probability)
    if auc is not None:
        numbers["roc_auc"] = auc
    return numbers


def expected_roc_auc(counts: NDArray[np.int64], probability: NDArray[np.float64]) -> float | None:
    """The area under the ROC curve of predictions, with ``counts`` (B) by ascending score, that are positive with
    ``probability`` (B); ties count half. None if one class is certain.

    >>> expected_roc_auc(np.array([4, 4]), np.array([0.25, 0.75]))
    0.75
    """
    positives = counts * probability
    negatives = counts - positives
    pairs = float(positives.sum() * negatives.sum())
    if pairs <= 0:
        return None
    return float((positives * (np.cumsum(negatives) - 0.5 * negatives)).sum() / pairs)


def _word(calibration: Calibration | None) -> str:
    if calibration is None:
        return "unchecked"
    return "isotonic" if calibration.helps else "not_needed"
