"""What `tidegauge doctor` reads from the newest records: which partitioner wrote them, and whose clock is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec
from aiokafka import TopicPartition

from tidegauge.stream.consumer import consumer
from tidegauge.stream.finding import Finding, judged
from tidegauge.stream.partitioning import placement
from tidegauge.stream.settings import Settings

NEWEST = 200
"""Records looked at of each partition."""
PATIENCE = 20
"""Empty fetches after which what could be read is judged."""
REFUSAL_MS = 3000
MAX_SKEW = 60.0
"""Seconds clocks may differ."""


class _Timed(msgspec.Struct):
    ts: float
    request_id: str | None = None


_timed = msgspec.json.Decoder(_Timed).decode
Records = Sequence[tuple[int, Any]]
"""(partition, record)."""


async def newest(settings: Settings, name: str, partitions: int) -> list[tuple[int, Any]]:
    """The newest committed records of each partition of the topic ``name``. Raises what Kafka says of a topic it refuses."""
    reader = consumer(settings)
    await reader.start()
    try:
        places = [TopicPartition(name, number) for number in range(partitions)]
        reader.assign(places)
        begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        for place in places:
            reader.seek(place, max(begins[place], ends[place] - NEWEST))
        found: list[tuple[int, Any]] = []
        left = {place for place in places if begins[place] < ends[place]}
        if not left:
            # Only a fetch tells that reading is refused; one that is not says nothing until its time is over.
            await reader.getmany(timeout_ms=REFUSAL_MS)
        empty = 0
        while left and empty < PATIENCE:
            batches = await reader.getmany(*left, timeout_ms=500)
            empty = 0 if batches else empty + 1
            found += [(place.partition, record) for place, records in batches.items() for record in records]
            left = {place for place in left if await reader.position(place) < ends[place]}
        return found
    finally:
        await reader.stop()


def partitioner(found: Mapping[str, Records], counts: Mapping[str, int]) -> Finding:
    """``found``: the newest records by topic; ``counts``: partitions by topic."""
    wrong, seen = [], 0
    for name, records in found.items():
        lies = placement(((record.key, partition) for partition, record in records), counts[name])
        seen += lies.records
        if lies.elsewhere:
            wrong.append(
                f"of the newest {lies.records} records of {name} {lies.elsewhere} lie in another partition than murmur2 of "
                "their key says, so that labels miss their predictions; a producer partitions otherwise, as "
                "librdkafka does unless told partitioner=murmur2_random: set that, or Kafka's default partitioner"
            )
        if lies.keyless:
            wrong.append(
                f"of the newest {lies.records} records of {name} {lies.keyless} have no key: send request_id as the key"
            )
        strange = sum(_other_key(record) for _, record in records)
        if strange:
            wrong.append(f"of the newest {lies.records} records of {name} {strange} have a key that is not their request_id: "
                         "send request_id as the key")  # fmt: skip
    return judged(
        "partitioner", wrong, f"{seen} records lie where murmur2 of their request_id says" if seen else "no records yet"
    )


def clock(found: Mapping[str, Records], now: float) -> Finding:
    """``now``: this machine's clock, Unix seconds."""
    wrong, ahead = [], 0.0
    for name, records in found.items():
        if not records:
            continue
        # The broker's own word where the topic has LogAppendTime, else the producer's.
        skew = max(record.timestamp for _, record in records) / 1000 - now
        ahead = max(ahead, skew)
        if skew > MAX_SKEW:
            wrong.append(f"the newest record of {name} is {skew:.0f} s in this machine's future: set the clocks of this "
                         "machine, of the brokers and of the producers by NTP")  # fmt: skip
        leads = [event.ts - record.timestamp / 1000 for _, record in records if (event := _event(record)) is not None]
        lead = median(leads) if leads else 0.0
        if lead > MAX_SKEW:
            wrong.append(f"ts in {name} is {lead:.0f} s ahead of the records' own time: a service's clock is wrong, or ts is "
                         "not Unix seconds in UTC")  # fmt: skip
    return judged("clock", wrong, f"no record is more than {max(ahead, 0.0):.0f} s in the future")


def _event(record: Any) -> _Timed | None:
    try:
        return _timed(record.value or b"")
    except (msgspec.MsgspecError, RecursionError):
        return None


def _other_key(record: Any) -> bool:
    event = _event(record)
    return (
        record.key is not None
        and event is not None
        and event.request_id is not None
        and record.key != event.request_id.encode()
    )
