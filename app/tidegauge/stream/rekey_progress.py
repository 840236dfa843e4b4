"""How far event time has come in inputs that are re-keyed: what a join task reads there comes from all input partitions, of
which some may be hours behind others.

Every look at the group tells what each re-keying task has committed, offset and event time, and where its partition ends. What
they had committed lies in the re-keyed topics below the ends these had after the look. So a join task that has read to those
ends has read all that the look speaks of (``FollowedLooks``): what it says of event time is then true of what the task holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from tidegauge.engine.stage import LABELS, PREDICTIONS, Behind
from tidegauge.stream.reading_progress import Place
from tidegauge.stream.settings import REKEY

KEPT = 2000
"""Looks that are kept of those nobody has caught up with: half an hour's and more."""


class Look(msgspec.Struct, frozen=True):
    """What a look at the group told. ``predictions``: the event time they have come to, below which none waits to be re-keyed;
    ``labels``: the same of labels. ``whole``: the wall clock (s) of an earlier look since which all that it found in the input
    topics was re-keyed."""

    predictions: float
    labels: float
    whole: float


class _Found(msgspec.Struct, frozen=True):
    """What there was in a topic at a look: wall clock, how far the predictions had come, and each partition's end."""

    at: float = 0.0
    predictions: float = 0.0
    ends: Mapping[int, int] = {}


class RekeyLooks:
    """Makes something of one look after the other."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[_Found]] = {topic: deque() for topic in REKEY.values()}
        self._whole = dict.fromkeys(REKEY.values(), _Found())

    def take(self, at: float, places: Sequence[Place]) -> Look | None:
        """A look that was begun at wall clock ``at``. None if nothing of the inputs is known."""
        standing: dict[str, list[Place]] = {topic: [] for topic in REKEY.values()}
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
            # Labels may speak of times long gone: then there is how far predictions had come when what is here was all.
            labels = max(_reached(standing[LABELS]), self._whole[LABELS].predictions)
        return Look(predictions, labels, min(found.at for found in self._whole.values()))


def _reached(places: Sequence[Place]) -> float:
    """The event time up to which no partition holds back anything."""
    return min((place.reached for place in places if place.lag), default=max(place.reached for place in places))


class FollowedLooks:
    """Which looks one join task has caught up with. ``last``: the last of these."""

    def __init__(self) -> None:
        self._ahead: deque[tuple[Look, Mapping[str, int]]] = deque()
        self.last: Look | None = None

    def take(self, look: Look, ends: Mapping[str, int]) -> None:
        """``ends``: of the task's partitions by topic, after the look."""
        if len(self._ahead) < KEPT:
            self._ahead.append((look, ends))

    def read(self, offsets: Mapping[str, int]) -> None:
        """The task has processed all below these offsets of its topics."""
        while self._ahead and all(offsets[topic] >= end for topic, end in self._ahead[0][1].items()):
            self.last, _ = self._ahead.popleft()

    @property
    def behind(self) -> Behind:
        """Up to which event time nothing is missing in what was read; nothing is known before a look was caught up with."""
        if self.last is None:
            return {PREDICTIONS: 0.0, LABELS: 0.0}
        return {PREDICTIONS: self.last.predictions, LABELS: self.last.labels}

    def silence(self, last_record: float) -> float:
        """For how many seconds after the task's last record (wall clock) nothing has come for it into the input topics, as far
        as all that they held was re-keyed and read."""
        return 0.0 if self.last is None else self.last.whole - last_record
