"""Reads topics that the processes of one group share. A process that has a partition of one topic has the partition of the same
number of all the others, too."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
BEGINNING = 0.0


class PartitionRecord(NamedTuple):
    """A ``record`` as aiokafka returns it, and the partition it was read from."""

    place: TopicPartition
    record: Any


class SharedFeed:
    """Reads the committed records of the ``topics`` (names in Kafka), in the partitions that the group assigns to this process.
    ``lost`` is called with partitions that are taken away; their next reader begins at the committed offsets."""

    def __init__(
        self, settings: Settings, topics: Sequence[str], group: str, lost: Callable[[set[TopicPartition]], None]
    ) -> None:  # fmt: skip
        self._settings, self._topics, self._group, self._lost = settings, topics, group, lost
        self._newest: dict[TopicPartition, float] = {}
        self._committed: dict[TopicPartition, int] = {}
        self.read: dict[TopicPartition, int] = {}
        """By partition, the offset behind the last record that was taken."""

    async def start(self) -> None:
        self._consumer = consumer(
            self._settings, group_id=self._group, partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(self._settings.session_timeout * 1000), metadata_max_age_ms=30_000,
        )  # fmt: skip
        await self._consumer.start()
        self._consumer.subscribe(self._topics, listener=_Listener(self))

    async def stop(self) -> None:
        await self._consumer.stop()

    async def take(self, seconds: float, most: int) -> list[PartitionRecord]:
        """Up to ``most`` new records; [] if none comes within ``seconds``."""
        batches = await self._consumer.getmany(timeout_ms=max(0, int(seconds * 1000)), max_records=most)
        for place, batch in batches.items():
            if batch:
                self.read[place] = batch[-1].offset + 1
                self._newest[place] = batch[-1].timestamp / 1000
        return [PartitionRecord(place, record) for place, batch in batches.items() for record in batch]

    def reached(self) -> float:
        """The time (Unix seconds) up to which all written records of all partitions have been taken. For a partition read to
        its end this is when the broker last answered, for others the timestamp of the newest record taken."""
        return min((self._reached(place) for place in self._places()), default=BEGINNING)

    def _reached(self, place: TopicPartition) -> float:
        answered: int | None = self._consumer.last_poll_timestamp(place)
        if answered is None or self._lag(place) != 0:
            return self._newest.get(place, BEGINNING)
        # By the steady clock of ``stream/consumer.py``.
        return time.time() - (time.monotonic() - answered / 1000)

    @property
    def lag(self) -> int:
        """How many records are still to be taken, as far as is known."""
        return sum(self._lag(place) or 0 for place in self._places())

    def _places(self) -> set[TopicPartition]:
        return set(self._consumer.assignment())

    def _lag(self, place: TopicPartition) -> int | None:
        """How many records of a partition are still to be taken; None if its end is not known yet."""
        end = self._consumer.last_stable_offset(place)
        state = self._consumer._subscription.subscription.assignment.state_value(place)
        if end is None or end < 0 or not state.has_valid_position:
            return None
        return max(int(end - state.position), 0)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the offsets of those partitions that are still assigned. A failure is logged; the next call tries again."""
        mine = self._places()
        new = {place: offset for place, offset in offsets.items() if place in mine and self._committed.get(place) != offset}
        if not new:
            return
        try:
            await self._consumer.commit(new)
        except KafkaError as error:
            log.warning("the offsets of group %s could not be committed: %r", self._group, error)
        else:
            self._committed |= new

    def forget(self, places: set[TopicPartition]) -> None:
        """Forget all that is known of partitions that are read by another process from now on, or read again."""
        for place in places:
            for known in (self.read, self._newest, self._committed):
                known.pop(place, None)
        self._lost(places)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, feed: SharedFeed) -> None:
        self._feed = feed

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._feed.forget(revoked)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        pass
