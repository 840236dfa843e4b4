"""Whether `confidence` turns out to be the probability of the predicted class, although it is read as that of the positive
class."""

from __future__ import annotations

from tidegauge.profile.data import PREDICTED_NEGATIVE, PREDICTED_NONE, PREDICTED_POSITIVE, DataProfile
from tidegauge.profile.score_grid import SCORE_BINS
from tidegauge.spec import ModelSpec

MIN_NEGATIVES = 30
"""Of fewer negative predictions, all may have scored above one half by chance."""


def misread_confidence(data: DataProfile, spec: ModelSpec) -> int:
    """How many negative predictions have a confidence above one half, if no prediction has one below: then it must be the
    probability of the predicted class. 0 where the spec says so already, or there are too few predictions. It is computed from
    the score histograms of the predicted classes, so that merged profiles give the same answer as all their events together."""
    if data.reread:
        return data.reread
    row = data.results.index("confidence")
    given = 0 if row is None else int(data.results.count[row])
    if spec.confidence_is == "predicted" or spec.task not in (None, "binary") or given < MIN_NEGATIVES:
        return 0
    if not set(data.result_class.counts) <= {spec.positive_label, "0", "1"} and spec.task is None:
        return 0
    keys, counts = data.scores.keys, data.scores.counts
    negatives = int(counts[(keys >= PREDICTED_NEGATIVE) & (keys < PREDICTED_NEGATIVE + SCORE_BINS)].sum())
    positives = int(counts[(keys >= PREDICTED_POSITIVE) & (keys < PREDICTED_POSITIVE + SCORE_BINS)].sum())
    if given < negatives + positives or has_scores_below_half(data):
        return 0
    return negatives if negatives >= MIN_NEGATIVES else 0


def has_scores_below_half(data: DataProfile) -> bool:
    """Whether any prediction, of whichever class, has a score below one half."""
    keys = data.scores.keys[data.scores.keys < PREDICTED_NONE]
    return bool((keys % SCORE_BINS < SCORE_BINS // 2).any())


def sentence(found: int) -> str:
    """The finding that so many predictions are misread, and what to do about it.

    >>> sentence(412)
    "all 412 negative predictions have a confidence above one half: it is the predicted class's; say confidence_is: predicted"
    """
    return (
        f"all {found} negative predictions have a confidence above one half: it is the predicted class's; "
        "say confidence_is: predicted"
    )
