"""Increases the partition count of inputs, internal topics and state: widens topics, and rebuilds state from the inputs.

Widened inputs may hold the events of one request in two partitions, the old one and the new one, so inputs are re-keyed
afterwards.
"""

from __future__ import annotations

import asyncio

import msgspec
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES
from tidegauge.errors import TopicError
from tidegauge.stream import topics
from tidegauge.stream.rebuilding import ExpiredRecords, rebuild, require_events, require_no_workers
from tidegauge.stream.settings import JOIN_CHANGELOG, MONITOR_CHANGELOG, REKEYED, Settings

WIDENED = (PREDICTIONS, LABELS, PROFILES, JOIN_CHANGELOG, MONITOR_CHANGELOG, *REKEYED.values())
PATIENCE_SECONDS = 30


async def repartition(settings: Settings, partitions: int, *, accept_loss: bool = False) -> list[ExpiredRecords]:
    """Give every topic in WIDENED at least this many ``partitions``, and rebuild the state. Returns and raises like
    ``rebuild``. If it was interrupted, running it again completes it."""
    settings = msgspec.structs.replace(settings, partitions=partitions, rekeyed=True)
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        await require_no_workers(admin, settings)
        counts = await _counts(admin, settings)
        state = counts.get(settings.topic(JOIN_CHANGELOG))
        if state is None:
            raise TopicError(
                f"there is no topic {settings.topic(JOIN_CHANGELOG)}, so no state yet: give predictions and labels the "
                "partitions they are to have, and start workers"
            )
        if partitions < state:
            raise TopicError(f"the state has {state} partitions already: there can be more of them, not fewer")
        await require_events(settings, {topic: counts[settings.topic(topic)] for topic in (PREDICTIONS, LABELS)}, accept_loss)
        narrow = {name: NewPartitions(partitions) for name, count in counts.items() if count < partitions}
        if narrow:
            await admin.create_partitions(narrow)
        missing = [topic for topic in REKEYED.values() if settings.topic(topic) not in counts]
        if missing:
            await topics.create(admin, [topics.new(settings, topic, partitions) for topic in missing])
        await _wait(admin, settings, partitions)
    finally:
        await admin.close()
    return await rebuild(settings, accept_loss=accept_loss)


async def _counts(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    """The partition count of each existing topic of WIDENED, by its name in Kafka."""
    present = set(await admin.list_topics())
    described = await admin.describe_topics([name for name in map(settings.topic, WIDENED) if name in present])
    return {topic["topic"]: len(topic["partitions"]) for topic in described}


async def _wait(admin: AIOKafkaAdminClient, settings: Settings, partitions: int) -> None:
    """Wait until the brokers that are asked know all partitions."""
    for _ in range(PATIENCE_SECONDS):
        counts = await _counts(admin, settings)
        if len(counts) == len(WIDENED) and min(counts.values()) >= partitions:
            return
        await asyncio.sleep(1)
    raise TopicError(f"the new partitions are not there after {PATIENCE_SECONDS} s: {counts}; run this again")
