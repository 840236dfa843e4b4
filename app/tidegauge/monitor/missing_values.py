"""Makes missing values of a feature a single alert: if a monitor on their share has one, a monitor on the rise has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from tidegauge.alert.book import AlertBook
from tidegauge.alert.labels import Subject
from tidegauge.baseline.baseline import Baseline
from tidegauge.engine.delta import Segment
from tidegauge.judge.conditions import Verdict
from tidegauge.judge.few_values import judge_with_few
from tidegauge.metrics import record as records
from tidegauge.monitor.window_headers import Header
from tidegauge.monitor.windows import Windows
from tidegauge.spec import ModelSpec, MonitorSpec, watches

FEATURES, SHARE, RISE = "data.features.", ".missing_ratio", ".missing_shift"


def is_share(metric: str) -> bool:
    """Whether a monitor's metric is the share of a feature's missing values."""
    return metric.startswith(FEATURES) and metric.endswith(SHARE)


def is_rise(metric: str) -> bool:
    """Whether a monitor's metric is how much that share has risen."""
    return metric.startswith(FEATURES) and metric.endswith(RISE)


class MissingValueAlerts:
    """The verdicts of monitors on the share of missing values in one task's ``windows``. They follow from the current content
    of the windows, not from when these were judged. ``baseline_of``: returns the baseline of a window; ``earlier``: the counts
    of a segment in the windows before one, as in ``WindowRecords``."""

    def __init__(
        self, windows: Windows, alerts: AlertBook, baseline_of: Callable[[Header, ModelSpec], Baseline | None],
        earlier: Callable[[Header, ModelSpec, Segment], Iterator[dict[str, Any]]],
    ) -> None:  # fmt: skip
        self._windows, self._alerts, self._baseline_of, self._earlier = windows, alerts, baseline_of, earlier

    def unless_alerted_already(
        self, header: Header, spec: ModelSpec, subject: Subject, verdict: Verdict, monitors: Iterable[MonitorSpec]
    ) -> Verdict:
        """The verdict that more values of a feature are missing, changed to not breached if one of the ``monitors`` on their
        share is breached in the same window or in one that begins in it (or, for a verdict on two windows together, in the
        previous window)."""
        path = verdict.path.removesuffix(RISE) + SHARE
        for monitor in monitors:
            if not is_share(monitor.metric) or monitor.for_windows > 1 or not watches(monitor.segments, subject.segment):
                continue
            # A monitor whose alert never fired does not count. This check avoids looking into the windows.
            if self._alerts.state(subject, msgspec.structs.replace(verdict, monitor=monitor, path=path)) is None:
                continue
            within = (inner for of in self._spoken_of(header, verdict) for inner in self._windows.within(of, monitor.window))
            if any(self._breached(inner, spec, subject, monitor, path) for inner in within):
                feature = path.removeprefix(FEATURES).removesuffix(SHARE)
                words = f"{subject.version}: that values of {feature} are missing is told by the alert {monitor.name}"
                return msgspec.structs.replace(verdict, breached=False, words=words)
        return verdict

    def _spoken_of(self, header: Header, verdict: Verdict) -> Iterator[Header]:
        yield header
        if verdict.recent:
            before = self._windows.before(header)
            if before is not None:
                yield before

    def _breached(self, header: Header, spec: ModelSpec, subject: Subject, monitor: MonitorSpec, path: str) -> bool:
        baseline = self._baseline_of(header, spec)
        part = None if baseline is None else baseline.part(subject.segment)
        members = records.data_members(self._windows.data(header, subject.segment), spec, part, drift=False)
        record = {"closed": header.closed, **members}
        earlier = partial(self._earlier, header, spec)
        found = judge_with_few({subject.segment: record}, monitor, baseline, header.window, earlier=earlier)
        return any(of.verdict.breached and of.verdict.path == path for of in found)
