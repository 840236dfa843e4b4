"""Whose probability the confidence of a version's events is, where its spec leaves that open; told once a model."""

from __future__ import annotations

import logging

from tidegauge.metrics.confidence_reading import misread_confidence, sentence
from tidegauge.models.registry import Registry
from tidegauge.monitor.windows import Header
from tidegauge.profile.data import DataProfile

log = logging.getLogger(__name__)


class ConfidenceReadings:
    """The readings of one monitor task's windows."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def otherwise(self, header: Header, data: DataProfile) -> bool:
        """Whether the scores of a window, in which ``data`` are the whole model's predictions, are to be read as the predicted
        class's though they were counted as the positive class's: as its baseline reads them, or while one is learned as its
        own predictions show."""
        spec = self._registry.spec(header.model)
        if spec.confidence_is is not None:
            return False
        baseline = self._registry.baseline(header.model, header.version)
        if baseline is not None:
            return baseline.confidence_is == "predicted"
        return bool(data.other_results.names) and misread_confidence(data, spec) > 0


class ConfidenceNotices:
    """What was logged of misread confidences, once a model."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def tell(self, header: Header, found: int) -> None:
        """Log that ``found`` negative predictions of a window have a confidence that can only be the predicted class's."""
        if found and header.model not in self._told:
            self._told.add(header.model)
            log.warning("%s (%s): %s", header.model, header.version, sentence(found))
