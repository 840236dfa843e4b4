"""Finds the baseline of a window: that of its version, or the same window one period earlier."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidegauge.baseline.baseline import Baseline, schema_of
from tidegauge.engine.delta import Segment
from tidegauge.metrics import record as records
from tidegauge.metrics.record import iso
from tidegauge.models.default_monitors import default_monitors
from tidegauge.models.registry import Registry
from tidegauge.monitor.learning import infer_task
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.spec import ModelSpec, ModelVersion, MonitorSpec, Task, span_name

WIDER: tuple[Task | None, ...] = (None, "binary", "regression", "multiclass")
"""The tasks, ordered such that a task that few predictions suggest wrongly comes before the one that more predictions
suggest."""
MAX_EARLIER = 100
"""How many earlier windows are kept in memory as baselines of later ones."""


class BaselineMark(NamedTuple):
    """A value that changes whenever the baseline of a window does: the revision in which its model last changed, and how often
    the earlier window that serves as its baseline was published (-1 if none does)."""

    revision: int
    publications: int


class WindowBaselines:
    """The baselines of one task's ``windows``, and the monitors that follow from them."""

    def __init__(self, windows: Windows, registry: Registry) -> None:
        self._windows, self.registry = windows, registry
        self._suggested: dict[ModelVersion, Task | None] = {}
        self._revision = -1
        self._monitors: dict[ModelVersion, tuple[MonitorSpec, ...]] = {}
        self._earlier: dict[tuple[bytes, int], Baseline] = {}

    def spec(self, header: Header) -> ModelSpec:
        """The spec of a window's model. Where the task is not known yet it is set to what the version's predictions so far
        suggest, so that no number of another task is shown."""
        spec = self.registry.spec(header.model)
        if spec.task is not None:
            return spec
        name = ModelVersion(header.model, header.version)
        found = infer_task(self._windows.data(header, ())), self._suggested.get(name)
        # Of several classes one window may have only two, and look binary.
        task = self._suggested[name] = max(found, key=WIDER.index)
        return msgspec.structs.replace(spec, task=task)

    def monitors(self, header: Header, spec: ModelSpec) -> tuple[MonitorSpec, ...]:
        """The spec's monitors, or where it names none the defaults that the version's baseline allows."""
        if spec.monitors is not None:
            return spec.monitors
        if self._revision != self.registry.revision:
            self._monitors.clear()
            self._revision = self.registry.revision
        name = ModelVersion(header.model, header.version)
        if name not in self._monitors:
            self._monitors[name] = default_monitors(self.registry.spec(header.model), self.registry.baseline(*name))
        return self._monitors[name]

    def is_fixed(self, header: Header, spec: ModelSpec) -> bool:
        """Whether all windows of the version are compared with the same baseline."""
        return spec.baseline_for(header.version).previous is None

    def of(self, header: Header, spec: ModelSpec) -> Baseline | None:
        """The baseline of a window; None where there is none."""
        before = self._before(header, spec)
        if before is None:
            return self.registry.baseline(header.model, header.version) if self.is_fixed(header, spec) else None
        key = (before.key, before.publications)
        if self._windows.pending.unpublished(before):
            # Not remembered: what later windows are compared with would depend on when the task was started.
            return self._computed(before, spec)
        if key not in self._earlier:
            while len(self._earlier) >= MAX_EARLIER:
                del self._earlier[next(iter(self._earlier))]
            self._earlier[key] = self._computed(before, spec)
        return self._earlier[key]

    def _computed(self, before: Header, spec: ModelSpec) -> Baseline:
        """An earlier window and its segments, as the baseline of a later one."""
        bins = self.registry.baseline(before.model, before.version)
        parts = {segment: self._as_baseline(before, segment, spec, bins) for segment in before.segments}
        baseline = parts.pop(())
        baseline.parts = parts
        return baseline

    def mark(self, header: Header, spec: ModelSpec) -> BaselineMark:
        """The mark of a window's baseline and spec as they are now."""
        before = self._before(header, spec)
        return BaselineMark(self.registry.revision_of(header.model), -1 if before is None else before.publications)

    def _before(self, header: Header, spec: ModelSpec) -> Header | None:
        """The closed window one period earlier; None where there is none, or windows are not compared with earlier ones."""
        period = spec.baseline_for(header.version).previous
        if period is None:
            return None
        before = self._windows.find(header.model, header.version, header.window, header.start - period)
        return before if before is not None and before.closed else None

    def _as_baseline(self, before: Header, segment: Segment, spec: ModelSpec, bins: Baseline | None) -> Baseline:
        """An earlier window, as the baseline of a later one."""
        data, outcome = self._windows.data(before, segment), self._windows.outcome(before, segment)
        schema = schema_of(data) if bins is None else bins.schema
        baseline = Baseline(before.model, before.version, data, outcome, schema)
        baseline.source = "previous"
        if bins is not None:
            # Windows were counted in the ranges of the bins' baseline, not in those that this window would have.
            baseline.ranges = bins.ranges
        baseline.metrics = records.numbers(data, outcome, spec, None, before.end - before.start, baseline.calibration)
        return baseline

    def compared_with(self, header: Header, spec: ModelSpec, baseline: Baseline | None) -> dict[str, str]:
        """The member ``compared_with`` of a record: what the window is compared with, or why with nothing."""
        source = spec.baseline_for(header.version)
        if baseline is None:
            if source.previous is not None:
                reason = f"nothing is known of the window {span_name(source.previous)} earlier: the first period is silent"
            elif source.first is not None:
                reason = f"a baseline is learned from the first {source.first} predictions, and of the segments in them"
            else:
                reason = "the baseline does not know this version, or this segment"
            return {"source": "none", "reason": reason}
        if source.previous is not None:
            return {"source": "previous", "window_start": iso(header.start - source.previous)}
        return {"source": baseline.source}
