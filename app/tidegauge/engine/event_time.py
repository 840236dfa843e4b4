"""Event time of one model as the monitor stage sees it: the minimum over the join partitions that still count.

A join partition counts from its first word. It holds event time back until it has said how far it has come, and stops
counting once it says it is idle. While all are idle, event time goes on at the pace of the wall clock from the latest
event, so that the last windows close though nobody sends.
"""

from __future__ import annotations

import math

import msgspec

PREDICTIONS, LABELS = 0, 1
SILENT_AFTER = 10.0
"""Seconds by the wall clock after which a partition that says nothing of a model does not hold it up any more."""


class PartitionState(msgspec.Struct, array_like=True):
    """What a join partition last said: wall clock, whether it is idle and since when."""

    now: float
    idle: bool
    idle_since: float


class PartitionClock:
    """How the join partitions stand, all models alike. ``partitions``: how many there are (1 in replay)."""

    def __init__(self, partitions: int, standings: dict[int, PartitionState] | None = None) -> None:
        self.partitions = partitions
        self.standings = standings or {}
        self._told = 0.0

    def hear(self, partition: int, now: float, idle: bool) -> None:
        before = self.standings.get(partition)
        since = before.idle_since if before is not None and before.idle and idle else now
        self.standings[partition] = PartitionState(max(now, before.now if before else now), idle, since)

    def counts(self, partition: int) -> bool:
        standing = self.standings.get(partition)
        return standing is None or not standing.idle

    @property
    def all_heard(self) -> bool:
        """Every partition has said how it stands, or that it is idle."""
        return all(partition in self.standings for partition in range(self.partitions))

    @property
    def now(self) -> float:
        """The latest wall clock of any partition."""
        return max((standing.now for standing in self.standings.values()), default=0.0)

    def tick(self, now: float) -> bool:
        """The wall clock, told while nobody has anything to say; whether that moves event time: all partitions are idle."""
        if self.all_idle_for() is None:
            return False
        self._told = now
        return True

    def all_idle_for(self) -> float | None:
        """Wall-clock seconds since the last partition went idle; None while one is not."""
        if len(self.standings) < self.partitions or not all(s.idle for s in self.standings.values()):
            return None
        now = max(self._told, max(s.now for s in self.standings.values()))
        return now - max(s.idle_since for s in self.standings.values())


class PartitionProgress(msgspec.Struct, array_like=True):
    """What a join partition last said of a model: the largest prediction and label ``ts``, how far it has read; and the
    wall clock when it last said anything, and when its predictions last went on."""

    predictions: float = 0.0
    labels: float = 0.0
    read: float = 0.0
    at: float = 0.0
    moved: float = 0.0


class ModelClock(msgspec.Struct, array_like=True):
    """How far one model has come. ``reached``: event time of predictions and of labels, which never goes back;
    ``judged``: the start of a quantum up to which its windows have been judged."""

    heard: dict[int, PartitionProgress] = {}
    reached: tuple[float, float] = (0.0, 0.0)
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

    def advance(self, clock: PartitionClock) -> tuple[float, float]:
        """Event time of predictions and of labels now."""
        idle = clock.all_idle_for()
        reached = []
        for which in (PREDICTIONS, LABELS):
            times = {p: heard.predictions if which == PREDICTIONS else heard.labels for p, heard in self.heard.items()}
            latest = max(times.values(), default=0.0)
            if idle is not None:
                time = latest + idle if which == PREDICTIONS else latest
            elif not clock.all_heard:
                time = 0.0
            else:
                # A busy partition that has never seen this model says nothing about it.
                time = min((t for p, t in times.items() if clock.counts(p) and t), default=latest)
            reached.append(max(time, self.reached[which]))
        self.reached = (reached[0], reached[1])
        return self.reached

    def complete(self, clock: PartitionClock) -> float:
        """Event time up to which all that arrived has come in: how far the partitions have read, and how far their
        predictions have come; a partition counts that is not idle and has lately had a word to say of this model."""
        if not clock.all_heard:
            return 0.0
        now = clock.now
        counted = [heard for partition, heard in self.heard.items() if clock.counts(partition)]
        read = [heard.read for heard in counted if now - heard.at <= SILENT_AFTER]
        come = [heard.predictions for heard in counted if heard.predictions and now - heard.moved <= SILENT_AFTER]
        return min(read + come, default=math.inf)
