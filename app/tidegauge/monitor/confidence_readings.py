"""Decides whose probability the confidence of a version's events is, if its spec leaves that open; logged once for each
model."""

from __future__ import annotations

import logging

from tidegauge.metrics.confidence_reading import has_scores_below_half, misread_confidence, sentence
from tidegauge.models.registry import Registry
from tidegauge.monitor.window_headers import Header
from tidegauge.profile.data import DataProfile
from tidegauge.spec import ModelVersion

log = logging.getLogger(__name__)


class ConfidenceReadings:
    """The readings of one monitor task's windows."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._found: set[ModelVersion] = set()

    def otherwise(self, header: Header, data: DataProfile) -> bool:
        """Whether the scores of a window must be read as probabilities of the predicted class, although they were counted as
        those of the positive class. The version's baseline decides; while it is learned, the window's own predictions, or, if
        they are too few, those of the version's earlier windows. ``data``: the whole model's predictions in the window."""
        spec = self._registry.spec(header.model)
        if spec.confidence_is is not None:
            return False
        baseline = self._registry.baseline(header.model, header.version)
        if baseline is not None:
            return baseline.confidence_is == "predicted"
        if not data.other_results.names:
            return False
        name = ModelVersion(header.model, header.version)
        if misread_confidence(data, spec):
            self._found.add(name)
        elif has_scores_below_half(data):
            self._found.discard(name)
        return name in self._found


class ConfidenceNotices:
    """Logs misread confidences, once for each model."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, header: Header, found: int) -> None:
        """Log that ``found`` negative predictions of a window have a confidence that can only be the predicted class's."""
        if found and header.model not in self._told:
            self._told.add(header.model)
            log.warning("%s (%s): %s", header.model, header.version, sentence(found))
