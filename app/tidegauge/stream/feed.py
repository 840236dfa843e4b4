"""A topic that one process reads from where it stopped last time. The reader commits the records that it has finished."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from tidegauge.stream.consumer import consumer
from tidegauge.stream.reading import partitions
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)


class Feed:
    """Reads every committed record of the logical ``topic``. ``group``: the group whose offsets say where to continue.

    The process reads all partitions without joining the group, so two such processes would each read everything.
    """

    def __init__(self, settings: Settings, topic: str, group: str) -> None:
        self._settings, self._name, self._group = settings, settings.topic(topic), group
        self._done: dict[TopicPartition, int] = {}
        self.lag = 0

    async def start(self) -> None:
        """Start to read. Raises StreamError if there is no such topic."""
        self._places = await partitions(self._settings, self._name)
        self._consumer = consumer(self._settings, group_id=self._group)
        await self._consumer.start()
        self._consumer.assign(self._places)
        committed = {place: await self._consumer.committed(place) for place in self._places}
        self.new = all(offset is None for offset in committed.values())
        """Nothing was ever committed."""
        self._done = {place: offset or 0 for place, offset in committed.items()}
        self._ends = await self._consumer.end_offsets(self._places)
        await self._seek()

    async def _seek(self) -> None:
        """Seek to the committed offsets, or to the beginning of the topic if the records there have been deleted."""
        first = await self._consumer.beginning_offsets(self._places)
        for place in self._places:
            self._done[place] = max(self._done[place], first[place])
            self._consumer.seek(place, self._done[place])

    async def stop(self) -> None:
        await self._consumer.stop()

    async def before(self) -> AsyncIterator[Any]:
        """Yield the records that were committed before, the oldest first in each partition. If none were committed, yield all
        records, which then count as committed. Reading continues after them."""
        if self.new:
            self._done = dict(self._ends)
        await self._consumer.seek_to_beginning(*self._places)
        while any([await self._consumer.position(place) < end for place, end in self._done.items()]):
            for place, batch in (await self._consumer.getmany(timeout_ms=200)).items():
                for record in batch:
                    if record.offset < self._done[place]:
                        yield record
        await self._seek()

    async def behind(self) -> bool:
        """Whether reading has not yet reached the end that the topic had at the start."""
        return any([await self._consumer.position(place) < end for place, end in self._ends.items()])

    async def take(self, seconds: float, most: int) -> list[Any]:
        """At most ``most`` new records; [] if none comes within ``seconds``."""
        batches = await self._consumer.getmany(timeout_ms=max(0, int(seconds * 1000)), max_records=most)
        self._done = {place: await self._consumer.position(place) for place in self._places}
        self.lag = sum(max(0, (self._consumer.highwater(place) or 0) - done) for place, done in self._done.items())
        return [record for batch in batches.values() for record in batch]

    async def commit(self) -> None:
        """Commit all records taken so far. If Kafka is not available, the next call commits them."""
        try:
            await self._consumer.commit(dict(self._done))
        except KafkaError as error:
            log.warning("the offsets of group %s could not be committed: %r", self._group, error)
