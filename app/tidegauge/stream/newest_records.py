"""Reads the newest committed records of each partition of a topic, for `tidegauge doctor` and the console."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from tidegauge.stream.consumer import consumer
from tidegauge.stream.schema_registry import SchemaRegistry
from tidegauge.stream.settings import Settings

NEWEST = 200
"""The most records that are read of each partition."""
PATIENCE = 20
"""Reading ends after this many empty fetches."""
REFUSAL_MS = 3000


class PlacedRecord(NamedTuple):
    """A parsed record and its partition."""

    partition: int
    record: Any


async def as_events(found: Sequence[PlacedRecord], registry: SchemaRegistry | None) -> list[PlacedRecord]:
    """The same records as JSON, where a schema registry says how to read them, however long it takes to answer."""
    if registry is None:
        return list(found)
    records = await registry.decoded([record for _, record in found])
    return [PlacedRecord(partition, record) for (partition, _), record in zip(found, records, strict=True)]


async def newest(settings: Settings, name: str, partitions: int, *, ask_if_empty: bool = False) -> list[PlacedRecord]:
    """Up to ``NEWEST`` records of each partition of the topic ``name``, ordered within a partition. Raises Kafka's error if the
    topic may not be read; for a topic without records only with ``ask_if_empty``."""
    reader = consumer(settings)
    await reader.start()
    try:
        places = [TopicPartition(name, number) for number in range(partitions)]
        reader.assign(places)
        begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        for place in places:
            reader.seek(place, max(begins[place], ends[place] - NEWEST))
        found: list[PlacedRecord] = []
        left = {place for place in places if begins[place] < ends[place]}
        if not left and ask_if_empty:
            # Only a fetch reveals that reading is refused; a permitted fetch returns nothing until its timeout.
            await reader.getmany(timeout_ms=REFUSAL_MS)
        empty = 0
        while left and empty < PATIENCE:
            batches = await reader.getmany(*left, timeout_ms=500)
            empty = 0 if batches else empty + 1
            found += [PlacedRecord(place.partition, record) for place, records in batches.items() for record in records]
            left = {place for place in left if await reader.position(place) < ends[place]}
        return found
    finally:
        await reader.stop()
