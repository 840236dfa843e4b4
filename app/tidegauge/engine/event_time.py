"""The event time of one model as the monitor stage sees it: the minimum over the active join partitions.

A join partition is active from its first message. It holds back event time until it has reported its progress, and is no longer
active once it reports that it is idle. While all partitions are idle, event time advances with the wall clock from the latest
event on, so that the last windows close although no events come.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

SILENT_AFTER = 10.0
"""A partition that has reported nothing on a model for this many seconds (wall clock) no longer holds back its event time."""


class PartitionState(msgspec.Struct, array_like=True):
    """The last report of a join partition: its wall clock, whether it is idle, and since when."""

    now: float
    idle: bool
    idle_since: float


class PartitionClock:
    """The states of the join partitions, which hold for all models. ``partitions``: how many there are (1 in replay)."""

    def __init__(self, partitions: int, states: dict[int, PartitionState] | None = None) -> None:
        self.partitions = partitions
        self.states = states or {}
        self._told = 0.0

    def hear(self, partition: int, now: float, idle: bool) -> None:
        before = self.states.get(partition)
        since = before.idle_since if before is not None and before.idle and idle else now
        self.states[partition] = PartitionState(max(now, before.now if before else now), idle, since)

    def counts(self, partition: int) -> bool:
        standing = self.states.get(partition)
        return standing is None or not standing.idle

    @property
    def all_reported(self) -> bool:
        """Whether every partition has reported its state."""
        return all(partition in self.states for partition in range(self.partitions))

    @property
    def now(self) -> float:
        """The latest wall clock reported by any partition."""
        return max((standing.now for standing in self.states.values()), default=0.0)

    def tick(self, now: float) -> bool:
        """Advance to the wall clock ``now`` while no messages come; return whether event time advances with it, which it does
        while all partitions are idle."""
        if self.all_idle_for() is None:
            return False
        self._told = now
        return True

    def all_idle_for(self) -> float | None:
        """Seconds (wall clock) since the last partition became idle; None while one is not idle."""
        if len(self.states) < self.partitions or not all(s.idle for s in self.states.values()):
            return None
        now = max(self._told, max(s.now for s in self.states.values()))
        return now - max(s.idle_since for s in self.states.values())


class PartitionProgress(msgspec.Struct, array_like=True):
    """The last report of a join partition on a model: the largest ``ts`` of predictions and labels, and the event time up to
    which it has read. ``at``: wall clock of the report; ``moved``: wall clock of the last report with newer predictions."""

    predictions: float = 0.0
    labels: float = 0.0
    read: float = 0.0
    at: float = 0.0
    moved: float = 0.0


class EventTimes(NamedTuple):
    """The event times that a model's predictions and its labels have reached."""

    predictions: float = 0.0
    labels: float = 0.0

    def until(self, moment: float) -> EventTimes:
        """The same event times, limited to ``moment``."""
        return EventTimes(min(self.predictions, moment), min(self.labels, moment))


class ModelClock(msgspec.Struct, array_like=True):
    """The progress of one model. ``heard``: the last report of each partition; ``reached``: the event times, which never
    decrease; ``judged``: the start of the quantum up to which its windows have been judged."""

    heard: dict[int, PartitionProgress] = {}
    reached: EventTimes = EventTimes()
    judged: float = 0.0

    def hear(self, partition: int, watermark: float, label_watermark: float, read: float, now: float) -> None:
        heard = self.heard.setdefault(partition, PartitionProgress())
        if watermark > heard.predictions:
            heard.predictions, heard.moved = watermark, now
        heard.labels = max(heard.labels, label_watermark)
        heard.read, heard.at = read, now

    @property
    def latest(self) -> float:
        """The largest ``ts`` of a prediction in any partition."""
        return max((heard.predictions for heard in self.heard.values()), default=0.0)

    def advance(self, clock: PartitionClock) -> EventTimes:
        """Update and return ``reached`` according to the states of the partitions."""
        predictions = {partition: heard.predictions for partition, heard in self.heard.items()}
        labels = {partition: heard.labels for partition, heard in self.heard.items()}
        idle = clock.all_idle_for()
        if idle is not None:
            times = EventTimes(_latest(predictions) + idle, _latest(labels))
        elif not clock.all_reported:
            times = EventTimes()
        else:
            times = EventTimes(_slowest(predictions, clock), _slowest(labels, clock))
        self.reached = EventTimes(max(times.predictions, self.reached.predictions), max(times.labels, self.reached.labels))
        return self.reached

    def complete(self, clock: PartitionClock) -> float:
        """The event time up to which everything that arrived has been received: the minimum of what the partitions have read
        and of what their predictions have reached. Only partitions count that are not idle and have reported on this model
        recently."""
        if not clock.all_reported:
            return 0.0
        now = clock.now
        counted = [heard for partition, heard in self.heard.items() if clock.counts(partition)]
        read = [heard.read for heard in counted if now - heard.at <= SILENT_AFTER]
        come = [heard.predictions for heard in counted if heard.predictions and now - heard.moved <= SILENT_AFTER]
        return min(read + come, default=math.inf)


def _latest(times: dict[int, float]) -> float:
    return max(times.values(), default=0.0)


def _slowest(times: dict[int, float], clock: PartitionClock) -> float:
    # A busy partition that has never seen this model does not hold it back.
    return min((t for p, t in times.items() if clock.counts(p) and t), default=_latest(times))
