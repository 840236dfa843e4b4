"""The event time reached in inputs that are re-keyed. A join task reads there from all input partitions, of which some may be
hours behind others.

Every measurement (a ``GroupMeasurement``) of the group gives the offset and the event time that each re-keying task has
committed, and the end of its partition. The committed records are in the re-keyed topics below the end offsets that these have
after the measurement. A join task that has read up to these end offsets has therefore read all records that the measurement is
about (``FollowedLooks``), and the measured event time then holds for the task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from tidegauge.engine.stage import LABELS, PREDICTIONS, Behind
from tidegauge.stream.reading_progress import GroupPosition
from tidegauge.stream.settings import REKEY

KEPT = 2000
"""The most measurements that are kept until the task has caught up with them: more than half an hour."""


class GroupMeasurement(msgspec.Struct, frozen=True):
    """The result of one measurement of the group. ``predictions``: the event time up to which all predictions have been
    re-keyed; ``labels``: the same for labels. ``whole``: when an earlier measurement began (s, monotonic clock); everything
    that it found in the input topics has been re-keyed since."""

    predictions: float
    labels: float
    whole: float


class _Found(msgspec.Struct, frozen=True):
    """The content of a topic at a measurement: its time (s, monotonic clock), the event time of predictions, and the end of
    each partition."""

    at: float = 0.0
    predictions: float = 0.0
    ends: Mapping[int, int] = {}


class RekeyLooks:
    """Evaluates successive measurements."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Found]] = {topic: deque() for topic in REKEY.values()}
        self._whole = dict.fromkeys(REKEY.values(), _Found())

    def take(self, at: float, places: Sequence[GroupPosition]) -> GroupMeasurement | None:
        """The result of a measurement that began at ``at`` (monotonic clock); None if nothing is known of the inputs."""
        standing: dict[str, list[GroupPosition]] = {topic: [] for topic in REKEY.values()}
        for place in places:
            if place.stage in REKEY:
                standing[REKEY[place.stage]].append(place)
        if not all(standing.values()):
            return None
        predictions = _reached(standing[PREDICTIONS])
        for topic, of in standing.items():
            waiting = self._waiting[topic]
            if len(waiting) < KEPT:
                waiting.append(_Found(at, predictions, {place.partition: place.end for place in of}))
            while waiting and all(not p.lag or p.committed >= waiting[0].ends.get(p.partition, 0) for p in of):
                self._whole[topic] = waiting.popleft()
        labels = predictions
        if any(place.lag for place in standing[LABELS]):
            # Labels may be about times long ago. Their event time is then the one that predictions had reached when all labels
            # that have been re-keyed by now were there.
            labels = max(_reached(standing[LABELS]), self._whole[LABELS].predictions)
        return GroupMeasurement(predictions, labels, min(found.at for found in self._whole.values()))


def _reached(places: Sequence[GroupPosition]) -> float:
    """The event time up to which no partition has records left to re-key."""
    return min((place.reached for place in places if place.lag), default=max(place.reached for place in places))


class FollowedLooks:
    """The measurements that one join task has caught up with. ``last``: the newest of these; ``since``: when the task caught up
    with it, at first when the task began (s, monotonic clock)."""

    def __init__(self, now: float) -> None:
        self._ahead: deque[tuple[GroupMeasurement, Mapping[str, int]]] = deque()
        self.last: GroupMeasurement | None = None
        self.since = now

    def take(self, look: GroupMeasurement, ends: Mapping[str, int]) -> None:
        """Take in a measurement. ``ends``: by topic, the end offset of the task's partition after the measurement."""
        if len(self._ahead) < KEPT:
            self._ahead.append((look, ends))

    def read(self, offsets: Mapping[str, int], now: float) -> None:
        """Note that the task has processed everything below these offsets, by topic, at ``now`` (s, monotonic clock)."""
        while self._ahead and all(offsets[topic] >= end for topic, end in self._ahead[0][1].items()):
            self.last, _ = self._ahead.popleft()
            self.since = now

    @property
    def awaited(self) -> Mapping[str, int] | None:
        """By topic, the offset that the task has to reach to catch up with its next measurement; None if there is none."""
        return self._ahead[0][1] if self._ahead else None

    @property
    def behind(self) -> Behind:
        """By topic, the event time up to which nothing is missing in what was read. Before the task has caught up with any
        measurement, nothing is known."""
        if self.last is None:
            return {PREDICTIONS: 0.0, LABELS: 0.0}
        return {PREDICTIONS: self.last.predictions, LABELS: self.last.labels}

    def silence(self, last_record: float) -> float:
        """For how many seconds after ``last_record``, the time of the task's last record by the monotonic clock, no further
        record for it has come into the input topics, judging by what has been re-keyed and read."""
        return 0.0 if self.last is None else self.last.whole - last_record
