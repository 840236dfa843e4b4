"""Collects the work of a join task between two checkpoints: rows become profiles, and these become one delta for each model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine import delta
from tidegauge.engine.delta import Delta, Part, ProfileDelta, RoleSwitch
from tidegauge.engine.events import Prediction
from tidegauge.engine.stage import PROFILES, Output
from tidegauge.join.bounded_names import BoundedNames
from tidegauge.join.contexts import Context
from tidegauge.join.outcome_columns import OutcomeRow
from tidegauge.join.pairing import Pairs
from tidegauge.join.pane_profiles import PaneProfiles
from tidegauge.join.progress import Progress, Watermarks
from tidegauge.join.waiting_rows import NewestEventTime, WaitingRows
from tidegauge.spec import ModelSpec

MAX_DELTA_BYTES = 4 << 20


class Gathering:
    """The buffers of one join task. ``contexts``: those of ``Contexts.by_id``."""

    def __init__(
        self, partition: int, contexts: list[Context], spec: Callable[[str], ModelSpec], names: BoundedNames,
        profiles: PaneProfiles,
    ) -> None:  # fmt: skip
        self._partition, self._contexts, self._spec, self._names = partition, contexts, spec, names
        self._rows = WaitingRows(contexts)
        self.pairs = Pairs(contexts.__getitem__, spec)
        self._profiles = profiles

    def predicted(self, events: list[Prediction], contexts: list[int]) -> list[NewestEventTime]:
        """Like ``WaitingRows.predicted``."""
        return self._rows.predicted(events, contexts)

    def joined(self, table: NDArray[np.void], request_ids: list[bytes]) -> list[NewestEventTime]:
        """Like ``WaitingRows.joined``."""
        return self._rows.joined(table, request_ids)

    def outcome(self, row: OutcomeRow) -> None:
        if row.business:
            row.business = self._names.kpis(row.business, self._spec(self._contexts[row.context].model))
        self._rows.outcome(row)

    def flush(self, progress: Mapping[str, Progress], complete: float = math.inf) -> None:
        """Make profiles of the rows, by the current specs and baselines. ``progress``: of each model, including these rows.
        ``complete``: the event time before which everything had been read when the rows came; infinite if rows come in order of
        time."""
        self._profiles.add(self._rows.by_name, self.pairs, complete)
        self._profiles.settled_at(progress)
        self._rows.by_name.clear()

    def examples(self, model: str) -> Iterator[str]:
        """Like ``PaneProfiles.examples``."""
        return self._profiles.examples(model)

    def outputs(
        self, model: str, now: float, times: Watermarks, roles: tuple[RoleSwitch, ...], traces: dict[str, str]
    ) -> list[Output]:
        """The deltas of ``model`` since the last ``clear``. ``times``: the event times that the model has reached; ``roles``:
        new roles of its versions; ``traces``: the trace contexts of its ``examples`` by request id."""
        parts: list[list[Part]] = [[]]
        size = 0
        for of in self._profiles.parts(model):
            size += len(of.data or b"") + len(of.outcome or b"")
            if isinstance(of, ProfileDelta):
                size += sum(map(len, of.pairs.values()))
            if size > MAX_DELTA_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(of)
        samples = self._profiles.samples.of(model)
        outputs: list[Output] = []
        for number, part in enumerate(parts, 1):
            # Only the last part advances event time, since no window may close between two parts of one delta.
            last = number == len(parts)
            marks = times if last else Watermarks(0.0, 0.0, 0.0)
            message = Delta(
                self._partition,
                model,
                now,
                False,
                marks.predictions,
                marks.labels,
                tuple(part),
                samples if last else (),
                roles,
                marks.read,
                {} if outputs else traces,
            )
            outputs.append(Output(PROFILES, model.encode(), delta.encode(message)))
        return outputs

    def clear(self) -> None:
        self._profiles.clear()
