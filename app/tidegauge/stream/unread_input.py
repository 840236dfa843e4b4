"""Tells how far the tasks of a worker have read their inputs, and when an input counts as exhausted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from faust.types.tuples import TP

from tidegauge.engine.stage import AS_TAKEN, Behind
from tidegauge.stream.reading_progress import StalledPartitions
from tidegauge.stream.rekey_progress import FollowedLooks, GroupMeasurement
from tidegauge.stream.settings import REKEYED, Settings
from tidegauge.stream.task import Task

log = logging.getLogger(__name__)
WAITS_SECONDS = 30.0
"""If a join task has not caught up with a measurement of the group for so long, it says what it waits for, and again after
each further such time."""


class UnreadInput:
    """The unread input of all tasks of a worker. ``consumer``: returns Faust's consumer, which exists once Faust has
    started."""

    def __init__(self, settings: Settings, standstills: StalledPartitions, consumer: Callable[[], Any]) -> None:
        self._settings, self._standstills, self._consumer = settings, standstills, consumer
        self._looks: dict[int, FollowedLooks] = {}
        self._said: dict[int, float] = {}

    def follow(self, partition: int) -> None:
        """Begin with a new join task of this partition, for which there is no measurement of the group yet."""
        self._looks[partition] = FollowedLooks(time.monotonic())

    def looked(self, look: GroupMeasurement, ends: Mapping[TP, int]) -> None:
        """Take in a measurement of the group, and the end offsets of the re-keyed topics after it."""
        for partition, followed in self._looks.items():
            places = {topic: TP(self._settings.topic(topic), partition) for topic in REKEYED.values()}
            followed.take(look, {topic: ends[place] for topic, place in places.items()})

    def behind(self, task: Task) -> Behind:
        """The argument ``behind`` for the next checkpoint of a join task."""
        if not self._settings.rekeyed:
            return dict.fromkeys(self._unread(task), AS_TAKEN)
        places = {topic: TP(self._settings.topic(topic), task.partition) for topic in task.topics}
        followed, now = self._looks[task.partition], time.monotonic()
        reached = {topic: self._consumer().reached(place, task.position(topic)) for topic, place in places.items()}
        followed.read(reached, now)
        if now - max(followed.since, self._said.get(task.partition, 0.0)) >= WAITS_SECONDS:
            self._said[task.partition] = now
            log.warning(
                "%s: event time has waited for %.0f s: %s", task, now - followed.since, _awaited(followed.awaited, reached)
            )
        return followed.behind

    def is_quiet(self, task: Task, seconds: float) -> bool:
        """Whether the input of a join task counts as exhausted. ``seconds``: the time since its last record."""
        if self._settings.rekeyed:
            seconds = self._looks[task.partition].silence(task.last_record)
        return seconds >= self._settings.idle_timeout and not self._unread(task)

    def _unread(self, task: Task) -> set[str]:
        """The topics of which a task may not have read all records that existed when the last records of its other topics were
        delivered."""
        consumer = self._consumer()
        places = {topic: TP(self._settings.topic(topic), task.partition) for topic in task.topics}
        came = {topic: consumer.last_handed_over(place) for topic, place in places.items()}
        return {
            topic
            for topic, place in places.items()
            if consumer.behind(place, task.position(topic), max(at for other, at in came.items() if other != topic))
        }

    def all_is_quiet(self, task: Task, seconds: float) -> bool:
        """Whether event time may advance with the wall clock for a monitor task: it has read all messages of the join, and no
        partition has records that nobody processes, which would then be late."""
        (topic,) = task.topics
        place = TP(self._settings.topic(topic), task.partition)
        if self._consumer().lag(place, task.position(topic)):
            return False
        return self._standstills.all_go_on(self._settings.inputs.keys() - {"monitor"}, time.monotonic())


def _awaited(ends: Mapping[str, int] | None, reached: Mapping[str, int]) -> str:
    """What a join task waits for that has read up to the offsets ``reached``, and has to read up to ``ends``, both by topic."""
    if ends is None:
        return "nothing is known yet of what the workers' group has re-keyed since then"
    left = [
        f"{topic} up to {end}, which it has read up to {reached[topic]}" for topic, end in ends.items() if reached[topic] < end
    ]
    return "its task has to read " + " and ".join(left)
