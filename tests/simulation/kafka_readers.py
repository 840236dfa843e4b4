"""The consumer and the admin client of the model: what tidegauge calls of aiokafka's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from simulation.kafka_clients import Clients
from simulation.kafka_model import Batch
from tidegauge.engine.stage import Record


class AssignedConsumer:
    """As ``AIOKafkaConsumer`` for partitions that are assigned by hand. ``committed_only``: whether ends are those of committed
    records."""

    def __init__(self, clients: Clients, group: str, committed_only: bool) -> None:
        self._clients, self._group, self._committed_only = clients, group, committed_only
        self._positions: dict[TopicPartition, int] = {}
        self._client = self._coordinator = self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._positions = dict.fromkeys(places, 0)

    def seek(self, place: TopicPartition, offset: int) -> None:
        self._positions[place] = offset

    async def position(self, place: TopicPartition) -> int:
        return self._positions[place]

    async def fetch_committed_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        kafka, group = self._clients.kafka, self._group

        def fetch() -> dict[TopicPartition, OffsetAndMetadata]:
            committed = kafka.committed.get(group, {})
            return {place: committed[place] for place in places if place in committed}

        said = ", ".join(f"{place.topic} {place.partition}" for place in places)
        found: dict[TopicPartition, OffsetAndMetadata] = await self._clients.network.ask(f"committed {said}", fetch)
        return found

    async def beginning_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        logs = self._clients.kafka.logs
        found: dict[TopicPartition, int] = await self._clients.network.ask(
            "beginning offsets", lambda: {place: logs[place].begin for place in places}
        )
        return found

    async def end_offsets(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        logs, committed_only = self._clients.kafka.logs, self._committed_only
        found: dict[TopicPartition, int] = await self._clients.network.ask(
            "end offsets", lambda: {place: logs[place].stable if committed_only else logs[place].end for place in places}
        )
        return found

    async def getmany(
        self, *places: TopicPartition, timeout_ms: int, max_records: int = 3
    ) -> dict[TopicPartition, list[Record]]:
        logs, positions = self._clients.kafka.logs, {place: self._positions[place] for place in places}

        def fetch() -> dict[TopicPartition, Batch]:
            return {place: logs[place].read(max(at, logs[place].begin), max_records) for place, at in positions.items()}

        said = ", ".join(f"{place.topic} {place.partition} from {at}" for place, at in positions.items())
        batches: dict[TopicPartition, Batch] = await self._clients.network.ask(f"fetch {said}", fetch)
        if all(batch.position == positions[place] for place, batch in batches.items()):
            await asyncio.sleep(timeout_ms / 1000)
        self._positions.update({place: batch.position for place, batch in batches.items()})
        return {place: batch.records for place, batch in batches.items() if batch.records}

    def unsubscribe(self) -> None:
        self._positions = {}

    async def fetch_all_metadata(self) -> AssignedConsumer:
        """What a client knows of the cluster, which is asked for ``partitions_for_topic``."""
        return self

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self._clients.kafka.partitions(topic)))


class Admin:
    """As ``AIOKafkaAdminClient``."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def list_consumer_group_offsets(
        self, group: str, partitions: Sequence[TopicPartition] = ()
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        committed = self._clients.kafka.committed

        def fetch() -> dict[TopicPartition, OffsetAndMetadata]:
            return dict.fromkeys(partitions, OffsetAndMetadata(-1, "")) | committed.get(group, {})

        found: dict[TopicPartition, OffsetAndMetadata] = await self._clients.network.ask("committed offsets", fetch)
        return found

    async def list_topics(self) -> list[str]:
        kafka = self._clients.kafka
        topics: list[str] = await self._clients.network.ask("topics", lambda: sorted({place.topic for place in kafka.logs}))
        return topics

    async def delete_records(self, bounds: Mapping[TopicPartition, Any]) -> None:
        logs = self._clients.kafka.logs

        def delete() -> None:
            for place, bound in bounds.items():
                logs[place].delete_before(bound.before_offset)

        said = ", ".join(f"{place.topic} {place.partition} before {of.before_offset}" for place, of in bounds.items())
        await self._clients.network.ask(f"delete {said}", delete)
