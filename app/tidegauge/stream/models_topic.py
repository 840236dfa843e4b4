"""The topic ``models``, which every worker reads completely and commands read and write."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Iterable

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tidegauge.engine.stage import MODELS
from tidegauge.errors import SpecError, TopicError
from tidegauge.models.registry import ModelRecord, Registry, carry_over, changed_by, encode
from tidegauge.stream import topics
from tidegauge.stream.consumer import consumer
from tidegauge.stream.reading import partitions
from tidegauge.stream.rekey_choice import decided
from tidegauge.stream.settings import MAX_MESSAGE_BYTES, Settings

log = logging.getLogger(__name__)
ENVELOPE_BYTES = 1024
"""The most bytes that a message has besides its value."""


class ModelsTail:
    """Keeps a registry up to date with the topic. ``start`` returns once all existing records have been applied."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings, self._registry = settings, registry
        self._place = TopicPartition(settings.topic(MODELS), 0)
        self._task: asyncio.Task[None] | None = None
        self._consumer = consumer(settings)

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign([self._place])
        await self._consumer.seek_to_beginning(self._place)
        end = (await self._consumer.end_offsets([self._place]))[self._place]
        while await self._consumer.position(self._place) < end:
            self._apply(await self._consumer.getmany(timeout_ms=200))
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._consumer.stop()

    async def _follow(self) -> None:
        while True:
            try:
                self._apply(await self._consumer.getmany(timeout_ms=1000))
            except KafkaError as error:
                log.error("models cannot be read: %s: %s; tried again in a second", type(error).__name__, error)
                await asyncio.sleep(1.0)

    def _apply(self, batches: dict[TopicPartition, list[object]]) -> None:
        for records in batches.values():
            for record in records:
                try:
                    self._registry.apply(record.key, record.value)  # type: ignore[attr-defined]
                except SpecError as error:
                    log.error("%s; the record is ignored, apply the model again", error)
                except Exception as error:
                    # Nobody awaits the task that follows the topic: it must not end, or no model would be heard of again.
                    log.error("a record of the topic of models is ignored, since it cannot be applied", exc_info=error)


async def read(settings: Settings) -> Registry:
    """The current models in the topic. Raises StreamError if there is no such topic."""
    await partitions(settings, settings.topic(MODELS))
    registry = Registry()
    tail = ModelsTail(settings, registry)
    await tail.start()
    await tail.stop()
    return registry


async def ensure_topics(settings: Settings, needed: Collection[str] | None = None) -> dict[str, int]:
    """Create the topics that are missing, including those for re-keyed inputs if they are needed; return the partition count of
    each by logical name. See ``topics.ensure``."""
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        return await topics.ensure(admin, settings, 0.0, needed)
    except TopicError as refused:
        try:
            settings = await decided(admin, settings)
        except KafkaError:
            # Without the right to query the group, the original refusal is the better message.
            raise refused from None
        if not settings.rekeyed:
            raise
        return await topics.ensure(admin, settings, 0.0, needed)
    finally:
        await admin.close()


async def ensure_topic(settings: Settings, logical: str) -> None:
    """Create one topic beside those of every deployment, with as many partitions as the settings say. Raises TopicError."""
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        if settings.topic(logical) not in await admin.list_topics():
            await topics.create(admin, [topics.new(settings, logical, settings.partitions)])
    finally:
        await admin.close()


async def apply(settings: Settings, records: Iterable[ModelRecord], by: str = "") -> list[str]:
    """Publish the models that differ from the topic, keeping learned baselines, each with what ``by`` changes in it; return a
    line about each model. What changed and the change are one record: neither is ever there without the other, and applying
    the same again changes nothing."""
    await ensure_topics(settings, (MODELS,))
    registry = await read(settings)
    changed, lines = [], []
    for record in records:
        before = registry.encoded(record.model)
        merged = carry_over(record, before)
        value = encode(merged)
        if before is not None and value != before:
            value = encode(changed_by(merged, before, by, time.time()))
        if value == before:
            lines.append(f"{record.model}: unchanged")
        else:
            lines.append(f"{record.model}: {'published' if before is None else 'changed'}")
            changed.append((record.model.encode(), value))
    await publish(settings, changed)
    return lines


async def publish(settings: Settings, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Write model records, given as pairs of key and value, and wait until they are durable."""
    producer = AIOKafkaProducer(max_request_size=MAX_MESSAGE_BYTES, acks="all", **settings.client())
    await producer.start()
    try:
        for key, value in records:
            if len(value) > MAX_MESSAGE_BYTES - ENVELOPE_BYTES:
                raise SpecError(
                    f"the spec and baselines of {key.decode()!r} take {len(value) / 2**20:.0f} MiB, a record can have "
                    f"{MAX_MESSAGE_BYTES >> 20}: build the baselines with fewer segments, or name fewer versions"
                )
            await producer.send_and_wait(settings.topic(MODELS), value=value, key=key)
    finally:
        await producer.stop()
