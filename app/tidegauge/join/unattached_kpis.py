"""Counts KPIs that belong to no request, with the version that the event names or else with the live one.

Two events are about the same KPIs if model, version, segment and ``ts`` are the same. The later one is then a duplicate or, if
a KPI has another value, a correction.

State, in the join's store, until a day after the label horizon:
    k<hash of model, version, segment, ts>      a second (4 bytes, big-endian) that is not later than it, and ``CountedKpis``
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from tidegauge.engine.events import Prediction
from tidegauge.engine.kpi_events import KpiEvent
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import LABELS, Counters, Store
from tidegauge.join.contexts import Contexts
from tidegauge.join.gathering import Gathering
from tidegauge.join.outcome_columns import OutcomeRow
from tidegauge.join.progress import TaskProgress
from tidegauge.spec import ModelSpec

UNATTACHED = b"k"
_NAME = b"kpi"
"""Used instead of a request id."""


class CountedKpis(msgspec.Struct, array_like=True, gc=False):
    """The KPIs of one event as they are counted now."""

    context: int
    ts: float
    kpis: dict[str, float]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CountedKpis).decode


class UnattachedKpis:
    """The KPIs of one join task that belong to no request."""

    def __init__(self, store: Store, contexts: Contexts, gathered: Gathering, progress: TaskProgress) -> None:
        self._store, self._contexts, self._gathered, self._progress = store, contexts, gathered, progress

    def take(self, event: KpiEvent, spec: ModelSpec, counters: Counters) -> None:
        """Count the event's KPIs. Raises EventError (too_many_versions)."""
        segment = event.segment if event.segments is None else event.segments
        place = _encode([event.model, event.model_version, segment, event.ts])
        key = UNATTACHED + hashlib.blake2b(place, digest_size=16).digest()
        raw = self._store.get(key)
        given = {kpi: float(value) for kpi, value in event.kpi.items() if value is not None}
        if raw is None:
            version = event.model_version or self._progress.live_version(event.model)
            made = Prediction("", event.ts, version, segments=msgspec.Raw(msgspec.json.encode(segment)))
            figures = CountedKpis(self._contexts.id_of(made, event.model, spec), float(event.ts), {})
        else:
            figures = _decode(raw[4:])
        old = {kpi: figures.kpis[kpi] for kpi, value in given.items() if figures.kpis.get(kpi, value) != value}
        new = {kpi: value for kpi, value in given.items() if figures.kpis.get(kpi) != value}
        if not new:
            counters["duplicate", LABELS] += 1
            return
        counters["corrected" if old else "unattached", LABELS] += 1
        if old:
            self._queue(figures, old, -1)
        self._queue(figures, new, 1)
        figures.kpis |= new
        self._store.put(key, sortable_second(figures.ts) + _encode(figures))
        self._progress.touch(event.model)

    def _queue(self, figures: CountedKpis, kpis: dict[str, float], sign: int) -> None:
        nothing_known = (None, None, None, None)
        self._gathered.outcome(
            OutcomeRow(figures.context, figures.ts, *nothing_known, kpis, np.nan, sign, False, _NAME, figures.ts)
        )

    def expired(self, pairs: Mapping[bytes, bytes], oldest: bytes, cutoff: Callable[[str], float]) -> list[bytes]:
        """The keys of those stored ``pairs`` that are older than their model's ``cutoff``. ``oldest``: pairs that are newer
        than this second (4 bytes) cannot be."""
        old = [key for key, value in pairs.items() if key[:1] == UNATTACHED and value[:4] <= oldest]
        found = ((key, _decode(pairs[key][4:])) for key in old)
        return [key for key, of in found if of.ts < cutoff(self._contexts.by_id[of.context].model)]
