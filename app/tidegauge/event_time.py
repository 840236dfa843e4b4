"""Event time of one model as the monitor stage sees it: the minimum over the join partitions that still count.

A join partition counts from its first word. It holds event time back until it has said how far it has come, and stops
counting once it says it is idle. While all are idle, event time goes on at the pace of the wall clock from the latest
event, so that the last windows close though nobody sends.
"""

from __future__ import annotations

import msgspec

PREDICTIONS, LABELS = 0, 1


class Standing(msgspec.Struct, array_like=True):
    """What a join partition last said: wall clock, whether it is idle and since when."""

    now: float
    idle: bool
    idle_since: float


class PartitionClock:
    """How the join partitions stand, all models alike. ``partitions``: how many there are (1 in replay)."""

    def __init__(self, partitions: int, standings: dict[int, Standing] | None = None) -> None:
        self.partitions = partitions
        self.standings = standings or {}

    def hear(self, partition: int, now: float, idle: bool) -> None:
        before = self.standings.get(partition)
        since = before.idle_since if before is not None and before.idle and idle else now
        self.standings[partition] = Standing(max(now, before.now if before else now), idle, since)

    def counts(self, partition: int) -> bool:
        standing = self.standings.get(partition)
        return standing is None or not standing.idle

    def all_idle_for(self) -> float | None:
        """Wall-clock seconds since the last partition went idle; None while one is not."""
        if len(self.standings) < self.partitions or not all(s.idle for s in self.standings.values()):
            return None
        return max(s.now for s in self.standings.values()) - max(s.idle_since for s in self.standings.values())


class ModelClock(msgspec.Struct, array_like=True):
    """Largest prediction and label ``ts`` of one model by join partition, and the event time reached (it never goes
    back), as (predictions, labels) pairs."""

    seen: dict[int, tuple[float, float]] = {}
    reached: tuple[float, float] = (0.0, 0.0)

    def hear(self, partition: int, watermark: float, label_watermark: float) -> None:
        predicted, labelled = self.seen.get(partition, (0.0, 0.0))
        self.seen[partition] = (max(predicted, watermark), max(labelled, label_watermark))

    def advance(self, clock: PartitionClock) -> tuple[float, float]:
        """Event time of predictions and of labels now."""
        idle = clock.all_idle_for()
        reached = []
        for which in (PREDICTIONS, LABELS):
            times = [pair[which] for pair in self.seen.values()]
            latest = max(times, default=0.0)
            if idle is not None:
                time = latest + idle if which == PREDICTIONS else latest
            elif any(p not in clock.standings for p in range(clock.partitions)):
                time = 0.0
            else:
                # A busy partition that has never seen this model says nothing about it.
                counted = [pair[which] for p, pair in self.seen.items() if clock.counts(p) and pair[which]]
                time = min(counted, default=latest)
            reached.append(max(time, self.reached[which]))
        self.reached = (reached[0], reached[1])
        return self.reached
