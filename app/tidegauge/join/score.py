"""Finds the score of a prediction, whichever member of the event has it. No other module decides this."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.class_names import by_class, is_positive, outcome_class
from tidegauge.engine.events import Prediction
from tidegauge.spec import ModelSpec

BINARY_CLASSES = frozenset(("0", "1"))
"""The classes that make a model binary whose task is not known yet (see ``monitor.stage.infer_task``)."""


def set_missing_scores(events: Iterable[Prediction], specs: Iterable[ModelSpec]) -> None:
    """Set the ``score`` of events that have none, from their confidence or probabilities; ``specs``: of each one's model."""
    for event, spec in zip(events, specs, strict=True):
        if event.score is None and (event.confidence is not None or event.probabilities):
            event.score = score_of(event, spec)


def score_of(event: Prediction, spec: ModelSpec) -> float | None:
    """The probability of the positive class or, for a multiclass model, of the predicted class; None if the event does not give
    it. ``score`` takes precedence over ``confidence``, and that over ``probabilities``.

    >>> said = Prediction("a", 0.0, "m:1", prediction=0, confidence=0.9)
    >>> score_of(said, ModelSpec("m")), round(score_of(said, ModelSpec("m", confidence_is="predicted")), 6)
    (0.9, 0.1)
    >>> said = Prediction("a", 0.0, "m:1", prediction="b", probabilities={"a": 0.1, "b": 0.7, "c": 0.2})
    >>> score_of(said, ModelSpec("m"))
    0.7
    """
    if event.score is not None:
        return event.score
    given = event.prediction
    predicted = None if given is None or given is msgspec.UNSET else outcome_class(given)
    if event.confidence is not None:
        if spec.confidence_is != "predicted" or not _binary(spec, {predicted} - {None}):
            return event.confidence
        positive = None if predicted is None else is_positive(predicted, spec.positive_label)
        if positive is None:
            return None
        return event.confidence if positive else 1.0 - event.confidence
    probabilities = by_class(event.probabilities or {})
    if _binary(spec, probabilities):
        return probabilities.get(spec.positive_label)
    if predicted in probabilities:
        return probabilities[predicted]
    return max((p for p in probabilities.values() if p is not None), default=None)


def negative_classes(classes: Iterable[str | None], spec: ModelSpec) -> frozenset[str]:
    """Those of the predicted ``classes`` for which a confidence can be read in two ways: the negative ones, if the spec leaves
    open whether ``confidence`` is the probability of the positive or of the predicted class; otherwise none."""
    if spec.confidence_is is not None or spec.task in ("multiclass", "regression"):
        return frozenset()
    return frozenset(
        name for name in classes
        if name is not None and name != spec.positive_label and (spec.task == "binary" or name in BINARY_CLASSES)
    )  # fmt: skip


def read_otherwise(score: NDArray[np.float64], negative: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """The scores (n) read the other way, as probabilities of the predicted class: a score s above one half of a ``negative``
    prediction (n) becomes 1 - s. None if there is no such score.

    >>> read_otherwise(np.array([0.9, 0.8, 0.3]), np.array([True, False, True])).round(6).tolist()
    [0.1, 0.8, 0.3]
    """
    moved = negative & (score > 0.5) & (score <= 1.0)
    return np.where(moved, 1.0 - score, score) if moved.any() else None


def _binary(spec: ModelSpec, classes: Iterable[str | None]) -> bool:
    """Whether the score is that of the positive class, according to the task or, while it is unknown, to the ``classes``."""
    return spec.task == "binary" or (spec.task is None and BINARY_CLASSES.issuperset(classes))
