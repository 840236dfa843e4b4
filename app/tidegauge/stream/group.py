"""Measures the progress of the workers' group in its input topics as the broker sees it, even if no worker is running."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tidegauge.engine.stage import LABELS
from tidegauge.stream.consumer import consumer, discard_fetched
from tidegauge.stream.reading_progress import GroupPosition, StalledPartitions
from tidegauge.stream.rekey_progress import GroupMeasurement, RekeyLooks
from tidegauge.stream.rekey_task import event_time
from tidegauge.stream.settings import REKEYED, Settings

log = logging.getLogger(__name__)
FEW = 100
"""At most this many remaining offsets may all be transaction markers, which are never processed; this is then checked."""
PROBE_SECONDS = 2.0
TOPICS_SECONDS = 30.0
"""Seconds between two searches for new partitions."""
LOOK_SECONDS = 2.0
"""Seconds between two measurements of the whole group by a worker."""
REKEYED_LOOK_SECONDS = 0.5
"""The same if inputs are re-keyed, where event time advances only with these measurements."""
ANSWER_SECONDS = 30.0
"""A measurement that takes longer has failed. The next one begins with new clients, since one of them may wait for ever."""
Ends = Mapping[TopicPartition, int]


class Group:
    """Measures the group with its own Kafka clients."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stage_of: dict[str, str] = {}
        self._clients = contextlib.AsyncExitStack()
        self._admin: Any = None
        self._consumer: Any = None
        self._uncommitted: Any = None
        self._before: dict[TopicPartition, tuple[int, int]] = {}
        self._places: list[TopicPartition] = []
        self._asked = -TOPICS_SECONDS

    async def start(self) -> None:
        """Start the clients, anew if they were started before."""
        await self.stop()
        settings = self._settings
        self._admin = AIOKafkaAdminClient(**settings.client())
        self._clients.push_async_callback(self._admin.close)
        await self._admin.start()
        self._consumer = await self._started(consumer(settings, max_partition_fetch_bytes=1 << 12, fetch_max_wait_ms=100))
        if settings.rekeyed:
            self._uncommitted = await self._started(consumer(settings, isolation_level="read_uncommitted"))

    async def _started(self, client: Any) -> Any:
        self._clients.push_async_callback(client.stop)
        await client.start()
        return client

    async def stop(self) -> None:
        await self._clients.aclose()

    async def places(self) -> list[GroupPosition]:
        """The state of every partition of the input topics; empty before anything has been committed. Raises KafkaError if
        Kafka does not answer."""
        places = await self._all()
        found = await self._admin.list_consumer_group_offsets(self._settings.app_id)
        committed = {place: of.offset for place, of in found.items() if place.topic in self._stage_of and of.offset >= 0}
        if not committed:
            return []
        never = [place for place in places if place not in committed]
        if never:
            committed |= await self._consumer.beginning_offsets(never)
        ends = await self._consumer.end_offsets(places)
        standing = {place: (committed[place], ends[place]) for place in places}
        # Partitions with many remaining records that advance need no further check.
        doubtful = [
            place
            for place, (at, end) in standing.items()
            if at < end and (end - at <= FEW or self._before.get(place) == (at, end))
        ]
        self._before = standing
        for place in await self._without_records({place: standing[place] for place in doubtful}):
            ends[place] = committed[place]
        return [
            GroupPosition(
                self._stage_of[place.topic],
                place.topic,
                place.partition,
                committed[place],
                max(ends[place], committed[place]),
                (event_time(found[place].metadata) if place in found else None) or 0.0,
            )
            for place in places
        ]

    async def rekeyed_ends(self) -> dict[TopicPartition, int]:
        """The end offsets of the re-keyed topics, including records that are written but not committed yet. Only for a group
        whose settings say that inputs are re-keyed."""
        names = [self._settings.topic(topic) for topic in REKEYED.values()]
        ends: dict[TopicPartition, int] = await self._uncommitted.end_offsets([p for p in self._places if p.topic in names])
        return ends

    async def _all(self) -> list[TopicPartition]:
        """The partitions of all input topics. Inputs are re-keyed if the re-keyed topics exist."""
        if time.monotonic() - self._asked >= TOPICS_SECONDS:
            known = await self._consumer._client.fetch_all_metadata()
            rekeyed = bool(known.partitions_for_topic(self._settings.topic(REKEYED[LABELS])))
            self._settings = settings = msgspec.structs.replace(self._settings, rekeyed=rekeyed)
            self._stage_of = {settings.topic(topic): stage for stage, topics in settings.inputs.items() for topic in topics}
            self._places = [
                TopicPartition(name, number) for name in self._stage_of for number in known.partitions_for_topic(name) or ()
            ]
            if all(known.partitions_for_topic(name) for name in self._stage_of):
                self._asked = time.monotonic()
        return self._places

    async def _without_records(self, standing: dict[TopicPartition, tuple[int, int]]) -> set[TopicPartition]:
        """Those partitions that have only transaction markers between the two offsets."""
        empty: set[TopicPartition] = set()
        left = set(standing)
        if not left:
            return empty
        self._consumer.assign(list(left))
        for place in left:
            self._consumer.seek(place, standing[place][0])
        until = time.monotonic() + PROBE_SECONDS
        while left and time.monotonic() < until:
            left -= (await self._consumer.getmany(*left, timeout_ms=200, max_records=len(left))).keys()
            passed = {place for place in left if await self._consumer.position(place) >= standing[place][1]}
            empty |= passed
            left -= passed
        discard_fetched(self._consumer)
        self._consumer.unsubscribe()
        return empty


async def watch_group(
    settings: Settings, standstills: StalledPartitions, looked: Callable[[GroupMeasurement, Ends], None]
) -> None:
    """Measure the group until cancelled. While Kafka does not answer, the last measurement remains. If inputs are re-keyed,
    ``looked`` is called with each measurement and the end offsets of the re-keyed topics after it. Measurements begin once a
    task has committed something."""
    group, looks = Group(settings), RekeyLooks()
    started, said = False, ""
    try:
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    if not started:
                        await group.start()
                    at = time.monotonic()
                    places = await group.places()
                    standstills.measured(at, places)
                    if (look := looks.take(at, places)) is not None:
                        looked(look, await group.rekeyed_ends())
                started, said = True, ""
            except Exception as error:
                started = False
                if repr(error) != said:
                    said = repr(error)
                    log.warning("the workers' group cannot be measured: %s", said)
            await asyncio.sleep(REKEYED_LOOK_SECONDS if settings.rekeyed else LOOK_SECONDS)
    finally:
        await group.stop()
