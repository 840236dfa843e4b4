"""Merges parts of deltas into windows, and takes from them what is known of versions: label delays, traffic, baselines."""

from __future__ import annotations

import math
from collections.abc import Iterable, Set

import numpy as np

from tidegauge.engine.delta import Part, ProfileDelta, RowsDelta
from tidegauge.engine.stage import Counters
from tidegauge.engine.traces import Traces, trace_id
from tidegauge.monitor.learning import BaselineLearning
from tidegauge.monitor.traffic_totals import TrafficTotals
from tidegauge.monitor.versions import Versions
from tidegauge.monitor.windows import Windows, oldest_kept
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import packed_delay_counts
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec, ModelVersion


class PartMerging:
    """Merges the parts of one monitor task. ``counters``: shared by all tasks of a worker; ``traffic``: what each version has
    predicted since the task began."""

    def __init__(
        self, windows: Windows, versions: Versions, learning: BaselineLearning, traces: Traces, counters: Counters
    ) -> None:
        self._windows, self._versions, self._learning = windows, versions, learning
        self._traces, self._counters = traces, counters
        self.traffic: dict[ModelVersion, TrafficTotals] = {}

    def merge(self, model: str, spec: ModelSpec, part: Part, now: float) -> None:
        """Merge a part of a delta that is due at event time ``now``. What belongs to windows that are no longer kept is only
        counted, as late."""
        if isinstance(part, RowsDelta):
            self._merge_rows(model, spec, part, now)
        else:
            self._merge_profiles(model, spec, part, now)

    def _merge_profiles(self, model: str, spec: ModelSpec, part: ProfileDelta, now: float) -> None:
        data = DataProfile.unpack(part.data) if part.data else None
        pairs = {other: PairProfile.unpack(raw) for other, raw in part.pairs.items()}
        place = (part.segment, part.pane)
        late = self._windows.add(
            model, part.version, spec, *place, data, part.outcome, pairs, part.latest, oldest_kept(spec, now)
        )
        self._counters["late_windows", model] += late
        if data is not None and not part.segment and late == len(spec.windows):
            self._counters["late_predictions", model] += data.predictions
        if not part.segment:
            moment = part.pane * spec.pane
            delays = None if part.outcome is None else packed_delay_counts(part.outcome)
            self._versions.take(model, part.version, moment, moment, delays)
            if data is not None:
                self._traffic_of(model, part.version, data.examples.get("system.error_ratio", ())).add(data)
        if data is not None:
            self._learning.take(model, part.version, spec, part.segment, data)

    def _merge_rows(self, model: str, spec: ModelSpec, part: RowsDelta, now: float) -> None:
        log = self._windows.log
        rows = log.add(model, spec, part)
        late = self._windows.take_rows(rows, oldest_kept(spec, now))
        self._counters["late_windows", model] += late.changes
        self._counters["late_predictions", model] += late.predictions
        times = rows.times.tolist()
        first, last = (math.floor(of / spec.pane) * spec.pane for of in (min(times), max(times)))
        delays = None if rows.outcome is None else rows.outcome.delay_counts()
        self._versions.take(model, part.version, first, last, delays)
        if rows.data is not None:
            failed = [rows.data.request_ids[row] for row in np.flatnonzero(rows.data.error).tolist()]
            self._traffic_of(model, part.version, failed).add_rows(rows.data)
            self._learning.take_rows(spec, rows)
        log.discard_if_taken(rows)

    def _traffic_of(self, model: str, version: str, failed: Iterable[str]) -> TrafficTotals:
        """The version's traffic, after noting the trace of one of the ``failed`` requests (ids), if one is known."""
        traffic = self.traffic.setdefault(ModelVersion(model, version), TrafficTotals())
        for parent in self._traces.of(failed).values():
            traffic.failed = trace_id(parent)
        return traffic

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Forget the traces of these requests, as long as their contexts are still known."""
        traces = set(map(trace_id, self._traces.of(request_ids).values()))
        for traffic in self.traffic.values():
            if traffic.failed in traces:
                traffic.failed = None
