"""Chooses which partitions to read next, so that the partitions that a task joins are read in step.

Otherwise the predictions of a backlog may be read far ahead of their labels. Most requests would then be pending at the same
time, and every label would have to look up its prediction on disk. Read in step, a label finds its prediction in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from faust.types.tuples import TP

AHEAD_MS = 1000
"""How far, by the timestamps of records, a partition may be read ahead of another one of the same task."""
STALLED = 2.0
"""Other partitions no longer wait for a partition that has returned nothing for this many seconds."""


class StepwiseReading:
    """The progress of each partition."""

    def __init__(self) -> None:
        self.beside: dict[str, Sequence[str]] = {}
        """By topic those whose partitions of the same number are read together with its own."""
        self._reached: dict[TP, tuple[int, float]] = {}

    def read(self, place: TP, timestamp: int, now: float) -> None:
        """Note that records of ``place`` up to one of ``timestamp`` (ms) were read at wall clock ``now`` (s)."""
        self._reached[place] = timestamp, now

    def ahead(self, place: TP, now: float, more: Callable[[TP], bool]) -> bool:
        """Whether ``place`` should wait for another partition of its task that is behind, has ``more`` to read, and
        advances."""
        bound = self._reached.get(place, (0, 0.0))[0] - AHEAD_MS
        for topic in self.beside.get(place.topic, ()):
            other = TP(topic, place.partition)
            timestamp, at = self._reached.get(other, (0, float("-inf")))
            if timestamp < bound and now - at < STALLED and more(other):
                return True
        return False
