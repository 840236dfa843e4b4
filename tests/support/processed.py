"""Whether an application's workers have processed what was sent, asked of Kafka and not of the time that passes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES
from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import REKEYED, Settings

STAGES = ((PREDICTIONS, LABELS), REKEYED.values(), (PROFILES,))
"""What is read one after the other: re-keyed inputs, where there are any, a second time."""


async def wait_until_processed(settings: Settings, seconds: float) -> None:
    """Wait until the group has committed all records that there are by now, stage by stage: of a partition that nobody reads
    nothing is committed. Raises AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        for topics in STAGES:
            last = await _last_offsets(admin, settings, topics)
            while left := await _uncommitted(admin, settings, last):
                assert time.monotonic() < deadline, f"not processed after {seconds} s: {left}"
                await asyncio.sleep(0.5)
    finally:
        await admin.close()


async def _last_offsets(admin: AIOKafkaAdminClient, settings: Settings, topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Of each partition's last record. Where a partition ends says less: the marker of a transaction counts, too."""
    there = await admin.list_topics()
    names = [name for name in map(settings.topic, topics) if name in there]
    if not names:
        return {}
    described = await admin.describe_topics(names)
    places = [TopicPartition(of["topic"], part["partition"]) for of in described for part in of["partitions"]]
    reader = consumer(settings)
    await reader.start()
    try:
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        found: dict[TopicPartition, int] = {}
        while any([await reader.position(place) < end for place, end in ends.items()]):
            found |= {place: batch[-1].offset for place, batch in (await reader.getmany(timeout_ms=200)).items()}
        return found
    finally:
        await reader.stop()


async def _uncommitted(
    admin: AIOKafkaAdminClient, settings: Settings, last: dict[TopicPartition, int]
) -> dict[TopicPartition, int]:
    try:
        committed = await admin.list_consumer_group_offsets(settings.app_id)
    except KafkaError as error:
        # A broker that has just started, or is just starting again.
        if not error.retriable:
            raise
        return last
    return {place: offset for place, offset in last.items() if place not in committed or committed[place].offset <= offset}
