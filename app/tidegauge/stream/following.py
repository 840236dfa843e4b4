"""Following topics for the console: committed records of several topics at once, without a group; and the group's lag."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tidegauge.console.progress import Place
from tidegauge.errors import StreamError
from tidegauge.operations import AUDIT, OPERATIONS
from tidegauge.stage import PROFILES
from tidegauge.stream.settings import INPUTS, MAX_MESSAGE_BYTES, Settings
from tidegauge.stream.topics import create

log = logging.getLogger(__name__)
NEW_TOPICS_AFTER = 5.0
"""Seconds between two looks for topics and partitions that were not there before."""
_CONFIGS = {OPERATIONS: {"cleanup.policy": "compact"}, AUDIT: {"cleanup.policy": "delete", "retention.ms": "-1"}}


class Follower:
    """Hands every committed record of ``topics`` to ``take``, from the beginning and then as they come.

    ``topics``: logical name → how many records from the end of each partition to start with, None for all.
    ``missing`` names those that do not exist yet; they are followed once they do. ``ready`` is set when all that was there
    at the start has been handed over.
    """

    def __init__(
        self, settings: Settings, topics: Mapping[str, int | None], take: Callable[[str, list[Any]], None]
    ) -> None:  # fmt: skip
        self._settings, self._wanted, self._take = settings, topics, take
        self._logical = {settings.topic(topic): topic for topic in topics}
        self._ends: dict[TopicPartition, int] = {}
        self._consumer: Any = None
        self.ready = asyncio.Event()
        self.missing: list[str] = []
        self.read = self.waiting = 0

    async def run(self) -> None:
        """Until cancelled. Raises KafkaError only if Kafka cannot be reached at the start."""
        self._consumer = AIOKafkaConsumer(
            enable_auto_commit=False,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
            fetch_max_bytes=MAX_MESSAGE_BYTES,
            **self._settings.client(),
        )
        await self._consumer.start()
        try:
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
                batches = await self._consumer.getmany(timeout_ms=500, max_records=20_000)
                for place, records in batches.items():
                    self.read += len(records)
                    self._take(self._logical[place.topic], records)
                    await asyncio.sleep(0)
                if not self.ready.is_set():
                    await self._check_ready()
        finally:
            await self._consumer.stop()

    async def _look(self) -> None:
        """Assign partitions that are new."""
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
            tail = self._wanted[self._logical[place.topic]]
            positions[place] = begins[place] if tail is None else max(begins[place], ends[place] - tail)
        for place, offset in positions.items():
            self._consumer.seek(place, offset)
        if not self.ready.is_set():
            self._ends.update(ends)
            self.waiting = sum(max(end - positions[place], 0) for place, end in self._ends.items())

    async def _check_ready(self) -> None:
        if all([await self._consumer.position(place) >= end for place, end in self._ends.items()]):
            self.ready.set()


class Group:
    """How the workers' group stands in its input topics."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stage_of = {settings.topic(topic): stage for stage, topics in INPUTS.items() for topic in topics}
        self._admin: Any = None
        self._consumer: Any = None

    async def start(self) -> None:
        self._admin = AIOKafkaAdminClient(**self._settings.client())
        self._consumer = AIOKafkaConsumer(isolation_level="read_committed", **self._settings.client())
        await self._admin.start()
        await self._consumer.start()

    async def stop(self) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def places(self) -> list[Place]:
        """Raises KafkaError where Kafka does not answer."""
        committed = await self._admin.list_consumer_group_offsets(self._settings.app_id)
        places = [place for place in committed if place.topic in self._stage_of]
        if not places:
            return []
        ends = await self._consumer.end_offsets(places)
        return [
            Place(self._stage_of[p.topic], p.topic, p.partition, committed[p].offset, ends[p] - self._marker(p.topic))
            for p in places
            if committed[p].offset >= 0
        ]

    def _marker(self, topic: str) -> int:
        """The last record of a topic that only transactions write to is the transaction's end, which nobody processes."""
        return 1 if topic == self._settings.topic(PROFILES) else 0


class OperationsLog:
    """Writes the topics of operations and of their audit."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None

    async def start(self) -> None:
        """Creates the two topics where they are missing."""
        admin = AIOKafkaAdminClient(**self._settings.client())
        await admin.start()
        try:
            present = await admin.list_topics()
            wanted = [
                NewTopic(self._settings.topic(topic), 1, self._settings.replication, topic_configs=configs)
                for topic, configs in _CONFIGS.items()
                if self._settings.topic(topic) not in present
            ]
            if wanted:
                await create(admin, wanted)
        finally:
            await admin.close()
        self._producer = AIOKafkaProducer(
            acks="all", enable_idempotence=True, request_timeout_ms=10_000, **self._settings.client()
        )
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def write(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        """Returns once the record is in the topic. Raises StreamError where it is not."""
        try:
            await self._producer.send_and_wait(self._settings.topic(topic), value=value, key=key)
        except KafkaError as error:
            raise StreamError(f"topic {self._settings.topic(topic)} cannot be written: {error}") from error
