"""The newest committed records of a topic, some of each partition: what `tidegauge doctor` and the console look at."""

from __future__ import annotations

from typing import Any, NamedTuple

from aiokafka import TopicPartition

from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings

NEWEST = 200
"""Records looked at of each partition."""
PATIENCE = 20
"""Empty fetches after which what could be read is all."""
REFUSAL_MS = 3000


class PlacedRecord(NamedTuple):
    """A record as it was parsed, and the partition it lies in."""

    partition: int
    record: Any


async def newest(settings: Settings, name: str, partitions: int, *, ask_if_empty: bool = False) -> list[PlacedRecord]:
    """Up to ``NEWEST`` records of each of the partitions of the topic ``name``, in the order of their partition. Raises what
    Kafka says of a topic that may not be read; of one without records only where that is asked."""
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
            # Only a fetch tells that reading is refused; one that is not says nothing until its time is over.
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
