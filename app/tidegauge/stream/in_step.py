"""Which partitions to read next, so that those a task joins are read in step.

Read as they come, the predictions of a backlog may run far ahead of their labels: most requests then stand pending at once and
every label looks its prediction up on the disk. In step, a label finds it in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from faust.types.tuples import TP

AHEAD_MS = 1000
"""How far a partition may be read ahead of one beside it, by their records' timestamps."""
STALLED = 2.0
"""Seconds after which nobody waits any more for a partition that gives nothing."""


class InStep:
    """How far each partition has been read."""

    def __init__(self) -> None:
        self.beside: dict[str, Sequence[str]] = {}
        """By topic those whose partitions of the same number are read together with its own."""
        self._reached: dict[TP, tuple[int, float]] = {}

    def read(self, place: TP, timestamp: int, now: float) -> None:
        """Records of ``place`` up to one of ``timestamp`` (ms) were read at ``now`` (seconds)."""
        self._reached[place] = timestamp, now

    def ahead(self, place: TP, now: float, more: Callable[[TP], bool]) -> bool:
        """Whether ``place`` should wait for a partition beside it that is behind, has ``more`` to read, and moves."""
        bound = self._reached.get(place, (0, 0.0))[0] - AHEAD_MS
        for topic in self.beside.get(place.topic, ()):
            other = TP(topic, place.partition)
            timestamp, at = self._reached.get(other, (0, float("-inf")))
            if timestamp < bound and now - at < STALLED and more(other):
                return True
        return False
