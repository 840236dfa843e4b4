"""The log lines of a worker that lags behind: how many records remain, and what event time it has reached."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from tidegauge.join.stage import JoinStage
from tidegauge.metrics.record import iso
from tidegauge.monitor.stage import MonitorStage

MANY = 10_000
"""A worker lags behind if at least this many records are not processed yet, or if its monitor tasks have windows left to judge
at two looks in a row."""
EVERY = 10.0
"""Seconds between two such log lines."""


class _Look(NamedTuple):
    """What there was to do: at which time, and whether the worker was ``behind``. The other members as for ``sentence``."""

    at: float
    records: int
    reached: float
    unfinished: bool
    behind: bool


class CatchingUp:
    """The progress of one worker.

    >>> progress = CatchingUp()
    >>> progress.sentence(0.0, 60_000, 1758931200.0, True)
    'behind: 60,000 records to go, event time 2025-09-27T00:00:00Z'
    >>> progress.sentence(10.0, 40_000, 1758934800.0, True)
    'behind: 40,000 records to go, event time 2025-09-27T01:00:00Z, 6 min more in a second; at this pace caught up in 20 s'
    >>> progress.sentence(20.0, 200, 1758942000.0, True)
    'behind: windows are left to judge, event time 2025-09-27T03:00:00Z, 12 min more in a second'
    >>> progress.sentence(30.0, 200, 1758943000.0, False)
    'caught up: event time 2025-09-27T03:16:40Z'
    >>> progress.sentence(40.0, 100, 1758943010.0, False)
    """

    def __init__(self) -> None:
        self._before: _Look | None = None

    def is_due(self, now: float) -> bool:
        """Whether the next line is due."""
        return self._before is None or now - self._before.at >= EVERY

    def sentence(self, now: float, records: int, reached: float, unfinished: bool) -> str | None:
        """The line to log at ``now`` (monotonic clock); None if there is nothing to say. ``records``: how many remain;
        ``reached``: the event time reached, 0 if it is unknown; ``unfinished``: whether windows are left to judge."""
        before = self._before
        behind = records >= MANY or (unfinished and before is not None and (before.behind or before.unfinished))
        self._before = _Look(now, records, reached, unfinished, behind)
        time = f" event time {iso(float(int(reached)))}" if reached else " event time not known yet"
        if not behind:
            return f"caught up:{time}" if before is not None and before.behind else None
        left = f"{records:,} records to go" if records >= MANY else "windows are left to judge"
        said = f"behind: {left},{time}"
        if before is None or not before.behind or now <= before.at:
            return said
        span = now - before.at
        if before.reached and reached > before.reached:
            said += f", {_span((reached - before.reached) / span)} more in a second"
        if records < MANY:
            return said
        if before.records > records:
            return f"{said}; at this pace caught up in {_span(records / (before.records - records) * span)}"
        return f"{said}; no faster than records come in"


def event_time(stages: Iterable[Any]) -> float:
    """The event time that a worker's stages have reached for the model that is furthest behind: up to which its windows are
    judged, or, in a worker without monitor tasks, up to which its events are read. 0 if no events were read."""
    judged, read = [], []
    for stage in stages:
        if isinstance(stage, MonitorStage):
            judged += [clock.judged for clock in stage.clocks.values() if clock.judged]
        elif isinstance(stage, JoinStage):
            read += [progress.predictions for progress in stage.progress.values() if progress.predictions]
    return min(judged or read, default=0.0)


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
