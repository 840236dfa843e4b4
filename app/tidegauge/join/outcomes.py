"""Handles outcomes that become known or change: counts them up to the label horizon of their prediction; later ones have
expired."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.stage import LABELS, Counters
from tidegauge.join import statements
from tidegauge.join.contexts import Context
from tidegauge.join.gathering import Gathering
from tidegauge.join.outcome_columns import OutcomeRow
from tidegauge.join.progress import TaskProgress
from tidegauge.join.request_state import KeptPrediction, RequestState
from tidegauge.join.statements import Outcome
from tidegauge.spec import ModelSpec


class Outcomes:
    """Queues the outcomes of one join task to be counted. ``contexts``: those of ``Contexts.by_id``."""

    def __init__(
        self,
        contexts: Sequence[Context],
        gathered: Gathering,
        progress: TaskProgress,
        spec: Callable[[str], ModelSpec],
        counters: Counters,
    ) -> None:
        self._contexts, self._gathered, self._progress = contexts, gathered, progress
        self._spec, self._counters = spec, counters

    def first_known(self, table: NDArray[np.void], keys: list[bytes]) -> None:
        """Queue outcomes known for the first time. ``table`` (n): rows of the layout JOINED of ``join/request_state.py``;
        ``keys`` (n): the store's keys of their requests."""
        contexts = np.unique(table["context"]).tolist()
        horizons = {self._spec(self._contexts[context].model).label_horizon for context in contexts}
        delays = table["label_ts"] - table["ts"]
        if delays.max() > min(horizons):
            of = {context: self._spec(self._contexts[context].model).label_horizon for context in contexts}
            late = delays > [of[context] for context in table["context"].tolist()]
            self._counters["expired", LABELS] += int(late.sum())
            table = table[~late]
            keys = [key for key, past in zip(keys, late.tolist(), strict=True) if not past]
        if keys:
            self._counters["joined", LABELS] += len(keys)
            for model, ts in self._gathered.joined(table, [key[1:] for key in keys]):
                self._progress.labelled(model, ts)

    def model(self, made: KeptPrediction) -> str:
        return self._contexts[made.context].model

    def spec(self, made: KeptPrediction) -> ModelSpec:
        return self._spec(self.model(made))

    def deadline(self, made: KeptPrediction) -> float:
        """The ``ts`` up to which labels of a prediction count."""
        return made.ts + self.spec(made).label_horizon

    def of(self, made: KeptPrediction, entry: RequestState) -> Outcome | None:
        """The outcome of a prediction according to its request's ``entry``; None while nothing is known."""
        model = self.model(made)
        return statements.outcome_of(made, model, self._spec(model).label_horizon, entry.statements)

    def change(self, made: KeptPrediction, old: Outcome | None, new: Outcome | None, key: bytes, moment: float) -> None:
        """At event time ``moment`` a prediction's outcome changes: queue the old one to be taken back and the new one to be
        counted. ``key``: the store's key of its request."""
        arrived = max(made.ts, moment)
        if old is not None:
            self._queue(made, old, -1, False, key, arrived)
        if new is not None:
            self._queue(made, new, 1, old is None or old.label is None, key, arrived)

    def _queue(self, made: KeptPrediction, known: Outcome, sign: int, first: bool, key: bytes, arrived: float) -> None:
        self._counters["joined", LABELS] += sign
        self._gathered.outcome(
            OutcomeRow(
                made.context, made.ts, made.value, made.score, made.probabilities, known.label, known.business, known.ts,
                sign, first, key[1:], arrived, known.implied,
            )
        )  # fmt: skip
        if not known.implied:
            self._progress.labelled(self.model(made), known.ts)
        else:
            self._progress.touch(self.model(made))
