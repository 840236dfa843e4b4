"""Finds the requests of one join task that have outlived the label horizon of their models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tidegauge.engine.stage import LABELS, Counters
from tidegauge.join.contexts import Context
from tidegauge.join.progress import Progress
from tidegauge.join.request_state import KeptPrediction, RequestState, decode
from tidegauge.join.requests import REQUEST, Requests
from tidegauge.join.statements import label_events
from tidegauge.spec import ModelSpec

KEPT_BEYOND_HORIZON = 86400.0
"""Seconds that a request is kept beyond the label horizon, for labels that travel slowly."""


class Expiry:
    """Decides which requests have expired. ``contexts``: those of ``Contexts.by_id``; ``progress``: by model; ``spec``: returns
    the spec of a model."""

    def __init__(
        self, requests: Requests, contexts: Sequence[Context], progress: Mapping[str, Progress],
        spec: Callable[[str], ModelSpec], counters: Counters,
    ) -> None:  # fmt: skip
        self._requests, self._contexts, self._progress = requests, contexts, progress
        self._spec, self._counters = spec, counters

    def cutoff(self, model: str) -> float:
        """The ``ts`` before which predictions of the model have expired."""
        return self._progress.get(model, Progress()).predictions - self._spec(model).label_horizon - KEPT_BEYOND_HORIZON

    def expired_requests(self, pairs: Mapping[bytes, bytes], oldest: bytes, now: float) -> list[bytes]:
        """The keys of the requests among stored ``pairs`` that have expired at wall clock ``now``. Labels of theirs that never
        found a prediction are counted. ``oldest``: requests newer than this second (4 bytes, big-endian) cannot have
        expired."""
        old = [key for key, value in pairs.items() if value[:4] <= oldest and key[:1] == REQUEST]
        gone = [key for key in old if self._has_expired(decode(pairs[key]), now)]
        for key in gone:
            self._drop(decode(pairs[key]))
        return gone

    def _has_expired(self, request: RequestState, now: float) -> bool:
        if request.predictions:
            return all(self._is_past(made) for made in request.predictions)
        if request.arrived < 0:
            return False
        longest = max((self._spec(model).label_horizon for model in self._progress), default=7 * 86400.0)
        return now - request.arrived / 1000 > longest + KEPT_BEYOND_HORIZON

    def _is_past(self, made: KeptPrediction) -> bool:
        return made.ts < self.cutoff(self._contexts[made.context].model)

    def _drop(self, request: RequestState) -> None:
        """Count a request out of the pending ones, and its labels that match no prediction as unmatched."""
        if not (request.statements and request.predictions):
            self._requests.pending -= 1
        served = {"", *(self._contexts[made.context].model for made in request.predictions)} if request.predictions else set()
        unmatched = label_events(statement for statement in request.statements if statement.model not in served)
        if unmatched:
            self._counters["unmatched", LABELS] += unmatched
