"""What a task that has lost its disk would restore from a changelog."""

from __future__ import annotations

import asyncio

from tidegauge.stream import changelog
from tidegauge.stream.consumer import consumer
from tidegauge.stream.reading import partitions
from tidegauge.stream.settings import Settings


def live_pairs(settings: Settings, topic: str) -> dict[int, dict[bytes, bytes]]:
    """The live pairs of the logical ``topic`` by partition."""
    return asyncio.run(_live_pairs(settings, topic))


async def _live_pairs(settings: Settings, topic: str) -> dict[int, dict[bytes, bytes]]:
    reader = consumer(settings)
    await reader.start()
    try:
        places = await partitions(settings, settings.topic(topic))
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        held: dict[int, dict[bytes, bytes]] = {place.partition: {} for place in places}
        while any([await reader.position(place) < end for place, end in ends.items()]):
            for place, records in (await reader.getmany(timeout_ms=200)).items():
                for record in records:
                    changes = changelog.decode(record.value)
                    if changelog.is_void(changes):
                        held[place.partition].clear()
                        continue
                    for key, value in changes.items():
                        if value is None:
                            held[place.partition].pop(key, None)
                        else:
                            held[place.partition][key] = value
    finally:
        await reader.stop()
    return held
