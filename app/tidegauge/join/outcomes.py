"""Outcomes as they become known or change: within the label horizon they are counted, past it they have expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.stage import LABELS
from tidegauge.join.contexts import Context
from tidegauge.join.gathering import Gathering
from tidegauge.join.outcome_columns import OutcomeRow
from tidegauge.join.progress import TaskProgress
from tidegauge.join.request_state import KeptPrediction, KnownOutcome
from tidegauge.spec import ModelSpec


class Outcomes:
    """Of one join task. ``contexts`` are those of ``Contexts.by_id``."""

    def __init__(
        self,
        contexts: Sequence[Context],
        gathered: Gathering,
        progress: TaskProgress,
        spec: Callable[[str], ModelSpec],
        counters: Counter[tuple[str, str]],
    ) -> None:
        self._contexts, self._gathered, self._progress = contexts, gathered, progress
        self._spec, self._counters = spec, counters

    def first_known(self, table: NDArray[np.void], keys: list[bytes]) -> None:
        """Queue outcomes known for the first time, as joined entries and the key of each."""
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

    def count(
        self, made: KeptPrediction, known: KnownOutcome, sign: int, first: bool, key: bytes, arrived: float = 0.0
    ) -> None:
        """Queue one outcome, unless the label is past the horizon. It ``arrived`` with its label, if nothing is said."""
        context = self._contexts[made.context]
        ts = known.business_ts if known.label is None else known.ts
        if ts - made.ts > self._spec(context.model).label_horizon:
            self._counters["expired", LABELS] += sign
            return
        self._counters["joined", LABELS] += sign
        self._gathered.outcome(
            OutcomeRow(
                made.context, made.ts, made.value, made.score, made.probabilities, known.label, known.business, ts,
                sign, first, key[1:], max(arrived or max(known.ts, known.business_ts), made.ts),
            )
        )  # fmt: skip
        self._progress.labelled(context.model, ts)
