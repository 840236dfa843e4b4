"""Follows several topics at once for the console: reads their committed records without joining a group."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tidegauge.alert.operations import AUDIT, OPERATIONS
from tidegauge.errors import StreamError
from tidegauge.stream import reading_backwards
from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings
from tidegauge.stream.topics import create

log = logging.getLogger(__name__)
NEW_TOPICS_AFTER = 5.0
"""Seconds between two searches for new topics and partitions."""
_CONFIGS = {
    OPERATIONS: {"cleanup.policy": "compact"},
    AUDIT: {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"},
}


class Start(msgspec.Struct, frozen=True):
    """Where following a topic starts. ``last``: how many of the newest records of each partition are read first, None for all;
    ``older``: whether older records are read afterwards, the newest first."""

    last: int | None = None
    older: bool = False


class Reader(reading_backwards.Reader, Protocol):
    """Receives the records."""

    def take(self, topic: str, records: list[Any]) -> None:
        """Take records of one partition of a logical topic, in offset order, that are newer than all before."""
        ...


class Follower:
    """Passes every committed record of ``topics`` (by logical name) to ``reader``, and continues with new records.

    ``missing``: the topics that do not exist yet, which are followed once they exist. ``ready``: set once all records that were
    there at the start have been passed on, except older ones.
    """

    def __init__(self, settings: Settings, topics: Mapping[str, Start], reader: Reader) -> None:
        self._settings, self._topics, self._reader = settings, topics, reader
        self._logical = {settings.topic(topic): topic for topic in topics}
        self._ends: dict[TopicPartition, int] = {}
        self._older: dict[TopicPartition, reading_backwards.OffsetSpan] = {}
        self._consumer: Any = None
        self.ready = asyncio.Event()
        self.missing: list[str] = []
        self.read = 0

    async def run(self) -> None:
        """Follow the topics until cancelled. Raises KafkaError only if Kafka cannot be reached at the start."""
        self._consumer = consumer(self._settings, max_partition_fetch_bytes=1 << 20)
        await self._consumer.start()
        try:
            jobs = [asyncio.create_task(job) for job in (self._follow(), self._read_older())]
            try:
                await asyncio.gather(*jobs)
            finally:
                for job in jobs:
                    job.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
        finally:
            await self._consumer.stop()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        looked = -NEW_TOPICS_AFTER
        while True:
            if loop.time() - looked >= NEW_TOPICS_AFTER:
                looked = loop.time()
                await self._look()
            if not self._consumer.assignment():
                self.ready.set()
                await asyncio.sleep(0.5)
                continue
            batches = await self._consumer.getmany(timeout_ms=500, max_records=reading_backwards.RECORDS_AT_ONCE)
            for place, records in batches.items():
                self.read += len(records)
                self._reader.take(self._logical[place.topic], records)
                await asyncio.sleep(0)
            if not self.ready.is_set():
                await self._check_ready()

    async def _read_older(self) -> None:
        await self.ready.wait()
        if self._older:
            await reading_backwards.BackwardsReader(self._settings, self._older, self._logical, self._reader).run()

    async def _look(self) -> None:
        """Find new partitions and start to read them."""
        try:
            known = await self._consumer._client.fetch_all_metadata()
        except KafkaError as error:
            log.warning("Kafka does not answer: %s", error)
            return
        places = {
            TopicPartition(name, partition) for name in self._logical for partition in known.partitions_for_topic(name) or ()
        }
        self.missing = sorted({logical for name, logical in self._logical.items()} - {self._logical[p.topic] for p in places})
        assigned = self._consumer.assignment()
        new = places - assigned
        if not new:
            return
        positions = {place: await self._consumer.position(place) for place in assigned}
        self._consumer.assign(list(assigned | new))
        begins = await self._consumer.beginning_offsets(list(new))
        ends = await self._consumer.end_offsets(list(new))
        for place in new:
            start = self._topics[self._logical[place.topic]]
            # Topics that are created after the start are short, so they are read as a whole.
            last = None if start.older and self.ready.is_set() else start.last
            positions[place] = begins[place] if last is None else max(begins[place], ends[place] - last)
            if start.older and begins[place] < positions[place]:
                self._older[place] = reading_backwards.OffsetSpan(begins[place], positions[place])
        for place, offset in positions.items():
            self._consumer.seek(place, offset)
        if not self.ready.is_set():
            self._ends.update(ends)

    async def _check_ready(self) -> None:
        if all([await self._consumer.position(place) >= end for place, end in self._ends.items()]):
            self._reader.has_read(0.0 if self._older else 1.0)
            self.ready.set()


class OperationsLog:
    """Writes the topics of operations and of the audit log, or only those in ``topics``."""

    def __init__(self, settings: Settings, topics: Sequence[str] = (OPERATIONS, AUDIT)) -> None:
        self._settings, self._topics = settings, topics
        self._producer: Any = None

    async def start(self) -> None:
        """Create the topics that are missing. Raises StreamError if that fails."""
        admin = AIOKafkaAdminClient(**self._settings.client())
        await admin.start()
        try:
            present = await admin.list_topics()
            wanted = [
                NewTopic(self._settings.topic(topic), 1, self._settings.replication, topic_configs=_CONFIGS[topic])
                for topic in self._topics
                if self._settings.topic(topic) not in present
            ]
            if wanted:
                await create(admin, wanted)
        finally:
            await admin.close()
        self._producer = AIOKafkaProducer(
            acks="all", enable_idempotence=True, request_timeout_ms=10_000, **self._settings.client()
        )
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            names = " and ".join(map(self._settings.topic, self._topics))
            raise StreamError(f"{names} cannot be written: {error}") from error

    async def stop(self) -> None:
        await self._producer.stop()

    async def write(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Write a record and return once it is durable. Raises StreamError if that fails."""
        try:
            await self._producer.send_and_wait(self._settings.topic(topic), value=value, key=key)
        except KafkaError as error:
            raise StreamError(f"topic {self._settings.topic(topic)} cannot be written: {error}") from error
