"""Rebuilds state from the input topics: declares the state of every task void and resets the group to the topics' beginning.

For each task both happen in one transaction with the task's own transactional id, so that old producers of workers can no
longer write: a record in the task's changelog, from which every restore starts with an empty state; and the offsets.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata

from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES
from tidegauge.errors import StreamError, TopicError
from tidegauge.stream import changelog
from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import CHANGELOGS, JOIN_CHANGELOG, MONITOR_CHANGELOG, REKEY, REKEYED, Settings

INPUTS = PREDICTIONS, LABELS
Places = Mapping[TopicPartition, int]


class ExpiredRecords(NamedTuple):
    """The number of records that a partition of an input no longer has, because their retention has expired."""

    place: TopicPartition
    records: int

    def __str__(self) -> str:
        return f"{self.place.topic}[{self.place.partition}]: {self.records:,} records"


async def rebuild(settings: Settings, *, accept_loss: bool = False) -> list[ExpiredRecords]:
    """Make the workers that start next rebuild all state. Returns the records that the topics no longer have, which is an error
    unless ``accept_loss`` is true.

    Raises StreamError if workers are running or records are gone, and TopicError if a topic is missing; nothing is changed
    then. If it is interrupted otherwise, it must be run again before workers start.
    """
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        rekeyed = settings.topic(REKEYED[LABELS]) in await admin.list_topics()
        settings = msgspec.structs.replace(settings, rekeyed=rekeyed)
        await require_no_workers(admin, settings)
        sizes = await _sizes(admin, settings)
    finally:
        await admin.close()
    begins = await require_events(settings, sizes, accept_loss)
    reader = consumer(settings, isolation_level="read_uncommitted")
    await reader.start()
    try:
        async with contextlib.AsyncExitStack() as stack:
            producers = {task: await _producer(stack, settings, *task) for task in _tasks(settings, sizes)}
            # No transaction is open any more, so no further records can come.
            passed = await reader.end_offsets(_places(settings, (PROFILES, *(REKEYED.values() if rekeyed else ())), sizes))
            for task, producer in producers.items():
                await _begin_again(producer, settings, *task, begins | passed)
    finally:
        await reader.stop()
    return _gone(begins)


async def require_events(settings: Settings, sizes: Mapping[str, int], accept_loss: bool) -> dict[TopicPartition, int]:
    """The first offset of each partition of the inputs. ``sizes``: the partition count of each topic. Raises StreamError if
    records are gone, unless ``accept_loss``."""
    reader = consumer(settings)
    await reader.start()
    try:
        begins: dict[TopicPartition, int] = await reader.beginning_offsets(_places(settings, INPUTS, sizes))
    finally:
        await reader.stop()
    gone = _gone(begins)
    if gone and not accept_loss:
        raise StreamError(
            f"the topics no longer hold all that was counted ({'; '.join(map(str, gone))}): windows would be published "
            "again from what is left, with other numbers; --accept-loss does so all the same"
        )
    return begins


def _gone(begins: Places) -> list[ExpiredRecords]:
    return [ExpiredRecords(place, begin) for place, begin in begins.items() if begin]


async def require_no_workers(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Raises StreamError if the workers' group has members."""
    for answer in await admin.describe_consumer_groups([settings.app_id]):
        for error, group, _, _, _, members, *_ in answer.groups:
            if error:
                raise StreamError(f"the group {group} cannot be looked at: error {error}")
            if members:
                hosts = sorted({member[2].lstrip("/") for member in members})
                raise StreamError(
                    f"{len(members)} workers are in the group {group} ({', '.join(hosts)}): stop them first; one that was "
                    "killed leaves the group after its session timeout"
                )


async def _sizes(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    """The partition count, by logical name, of each topic that a task reads or restores from."""
    wanted = (*INPUTS, PROFILES, JOIN_CHANGELOG, MONITOR_CHANGELOG, *(REKEYED.values() if settings.rekeyed else ()))
    present = set(await admin.list_topics())
    missing = [settings.topic(topic) for topic in wanted if settings.topic(topic) not in present]
    if missing:
        raise TopicError(
            f"{', '.join(missing)} cannot be seen: start a worker once, which makes them, or give this user the rights"
        )
    described = await admin.describe_topics([settings.topic(topic) for topic in wanted])
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    return {topic: counts[settings.topic(topic)] for topic in wanted}


def _places(settings: Settings, topics: Iterable[str], sizes: Mapping[str, int]) -> list[TopicPartition]:
    return [TopicPartition(settings.topic(topic), number) for topic in topics for number in range(sizes[topic])]


def _tasks(settings: Settings, sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Stage and partition of every task, later stages first, so that none processes records that it will receive again."""
    stages = ("monitor", "join", *(REKEY if settings.rekeyed else ()))
    return [(stage, number) for stage in stages for number in range(sizes[settings.inputs[stage][0]])]


async def _producer(stack: contextlib.AsyncExitStack, settings: Settings, stage: str, partition: int) -> Any:
    producer = AIOKafkaProducer(transactional_id=f"{settings.app_id}-{stage}-{partition}", **settings.client())
    await producer.start()
    stack.push_async_callback(producer.stop)
    return producer


async def _begin_again(producer: Any, settings: Settings, stage: str, partition: int, starts: Places) -> None:
    places = [TopicPartition(settings.topic(topic), partition) for topic in settings.inputs[stage]]
    async with producer.transaction():
        if stage in CHANGELOGS:
            void = changelog.encode_void(time.time())
            await producer.send_and_wait(settings.topic(CHANGELOGS[stage]), value=void, partition=partition)
        # An input that was widened may have partitions that the other input does not have.
        offsets = {place: OffsetAndMetadata(starts[place], "") for place in places if place in starts}
        await producer.send_offsets_to_transaction(offsets, settings.app_id)
