"""Topics whose partitions the processes of one group share, each with the partitions of one number in all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
BEGINNING = 0.0


class SharedFeed:
    """Every committed record of the ``topics`` (names in Kafka), in partitions that no other member of ``group`` reads.
    ``lost`` is told which partitions are to be read by whoever has them next, from where they were committed."""

    def __init__(
        self, settings: Settings, topics: Sequence[str], group: str, lost: Callable[[set[TopicPartition]], None]
    ) -> None:  # fmt: skip
        self._settings, self._topics, self._group, self._lost = settings, topics, group, lost
        self._newest: dict[TopicPartition, float] = {}
        self._committed: dict[TopicPartition, int] = {}
        self.read: dict[TopicPartition, int] = {}
        """The offset behind all that was taken, of each partition."""

    async def start(self) -> None:
        self._consumer = consumer(
            self._settings, group_id=self._group, partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=int(self._settings.session_timeout * 1000), metadata_max_age_ms=30_000,
        )  # fmt: skip
        await self._consumer.start()
        self._consumer.subscribe(self._topics, listener=_Listener(self))

    async def stop(self) -> None:
        await self._consumer.stop()

    async def take(self, seconds: float, most: int) -> list[tuple[TopicPartition, Any]]:
        """Up to ``most`` new records and their partitions, [] if none comes within ``seconds``."""
        batches = await self._consumer.getmany(timeout_ms=max(0, int(seconds * 1000)), max_records=most)
        for place, batch in batches.items():
            if batch:
                self.read[place] = batch[-1].offset + 1
                self._newest[place] = batch[-1].timestamp / 1000
        return [(place, record) for place, batch in batches.items() for record in batch]

    def reached(self) -> float:
        """Up to when (Unix seconds) all that was written has been taken: the broker's last word where that is all there is,
        else the timestamp of the newest record; of the partition that is furthest behind."""
        return min((self._reached(place) for place in self._places()), default=BEGINNING)

    def _reached(self, place: TopicPartition) -> float:
        answered: int | None = self._consumer.last_poll_timestamp(place)
        if answered is None or self._lag(place) != 0:
            return self._newest.get(place, BEGINNING)
        # By the steady clock of ``stream/consumer.py``.
        return time.time() - (time.monotonic() - answered / 1000)

    @property
    def lag(self) -> int:
        """Records that are yet to be taken, as far as the broker has said."""
        return sum(self._lag(place) or 0 for place in self._places())

    def _places(self) -> set[TopicPartition]:
        return set(self._consumer.assignment())

    def _lag(self, place: TopicPartition) -> int | None:
        """None where the broker has not said yet."""
        end = self._consumer.last_stable_offset(place)
        state = self._consumer._subscription.subscription.assignment.state_value(place)
        if end is None or end < 0 or not state.has_valid_position:
            return None
        return max(int(end - state.position), 0)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Where Kafka cannot take that now, the next call makes up for it."""
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
        """The partitions are read by others from now on, or once more."""
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
