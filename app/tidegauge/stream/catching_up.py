"""What a worker that is behind says in its log: how many records are to go, and how far event time has come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tidegauge.join.stage import JoinStage
from tidegauge.metrics.record import iso
from tidegauge.monitor.stage import MonitorStage

MANY = 10_000
"""Records that are not processed yet from which on a worker is behind."""
EVERY = 10.0
"""Seconds between two lines of its log."""


class CatchingUp:
    """Of one worker.

    >>> progress = CatchingUp()
    >>> progress.sentence(0.0, 60_000, 1758931200.0)
    'behind: 60,000 records to go, event time 2025-09-27T00:00:00Z'
    >>> progress.sentence(10.0, 40_000, 1758934800.0)
    'behind: 40,000 records to go, event time 2025-09-27T01:00:00Z, 6 min more in a second; at this pace caught up in 20 s'
    >>> progress.sentence(20.0, 200, 1758942000.0)
    'caught up: event time 2025-09-27T03:00:00Z'
    >>> progress.sentence(30.0, 100, 1758942010.0)
    """

    def __init__(self) -> None:
        self._before: tuple[float, int, float] | None = None

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again."""
        return self._before is None or now - self._before[0] >= EVERY

    def sentence(self, now: float, records: int, reached: float) -> str | None:
        """What to log at wall clock ``now`` with so many ``records`` to go and event time ``reached`` (0 where nobody knows);
        None where there is nothing to say."""
        before, self._before = self._before, (now, records, reached)
        time = f" event time {iso(float(int(reached)))}" if reached else " event time not known yet"
        if records < MANY:
            return f"caught up:{time}" if before is not None and before[1] >= MANY else None
        said = f"behind: {records:,} records to go,{time}"
        if before is None or before[1] < MANY or now <= before[0]:
            return said
        span = now - before[0]
        if before[2] and reached > before[2]:
            said += f", {_span((reached - before[2]) / span)} more in a second"
        if before[1] > records:
            return f"{said}; at this pace caught up in {_span(records / (before[1] - records) * span)}"
        return f"{said}; no faster than records come in"


def event_time(stages: Iterable[Any]) -> float:
    """How far event time has come in a worker's stages, of the model that is furthest behind: where it judges models as these
    are judged, else as their events are read; 0 where it has read none."""
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
