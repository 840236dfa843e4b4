"""Event time of one model as the monitor stage sees it: the minimum over the join partitions that still count.

A join partition counts from its first word. It holds event time back until it has said how far it has come, and stops
counting once it says it is idle. While all are idle, event time goes on at the pace of the wall clock from the latest
event, so that the last windows close though nobody sends.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

SILENT_AFTER = 10.0
"""Seconds by the wall clock after which a partition that says nothing of a model does not hold it up any more."""


class PartitionState(msgspec.Struct, array_like=True):
    """What a join partition last said: wall clock, whether it is idle and since when."""

    now: float
    idle: bool
    idle_since: float


class PartitionClock:
    """How the join partitions stand, all models alike. ``partitions``: how many there are (1 in replay)."""

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
        """Every partition has said how it stands, or that it is idle."""
        return all(partition in self.states for partition in range(self.partitions))

    @property
    def now(self) -> float:
        """The latest wall clock of any partition."""
        return max((standing.now for standing in self.states.values()), default=0.0)

    def tick(self, now: float) -> bool:
        """Take in the wall clock while no messages come; whether event time moves by it, as it does while all partitions are
        idle."""
        if self.all_idle_for() is None:
            return False
        self._told = now
        return True

    def all_idle_for(self) -> float | None:
        """Wall-clock seconds since the last partition went idle; None while one is not."""
        if len(self.states) < self.partitions or not all(s.idle for s in self.states.values()):
            return None
        now = max(self._told, max(s.now for s in self.states.values()))
        return now - max(s.idle_since for s in self.states.values())


class PartitionProgress(msgspec.Struct, array_like=True):
    """What a join partition last said of a model: the largest prediction and label ``ts``, how far it has read; and the
    wall clock when it last said anything, and when its predictions last went on."""

    predictions: float = 0.0
    labels: float = 0.0
    read: float = 0.0
    at: float = 0.0
    moved: float = 0.0


class EventTimes(NamedTuple):
    """How far event time has come, of a model's predictions and of its labels."""

    predictions: float = 0.0
    labels: float = 0.0

    def until(self, moment: float) -> EventTimes:
        """As far as that, but no further than ``moment``."""
        return EventTimes(min(self.predictions, moment), min(self.labels, moment))


class ModelClock(msgspec.Struct, array_like=True):
    """How far one model has come. ``reached`` never goes back; ``judged``: the start of a quantum up to which its windows have
    been judged."""

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
        """The largest prediction ``ts`` of any partition."""
        return max((heard.predictions for heard in self.heard.values()), default=0.0)

    def advance(self, clock: PartitionClock) -> EventTimes:
        """Take in how the partitions stand: how far event time has come now."""
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
        """Event time up to which all that arrived has come in: how far the partitions have read, and how far their
        predictions have come; a partition counts that is not idle and has reported on this model lately."""
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
    # A busy partition that has never seen this model says nothing about it.
    return min((t for p, t in times.items() if clock.counts(p) and t), default=_latest(times))
