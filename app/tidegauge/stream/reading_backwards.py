"""Reads the records that were in a topic before following it began, in blocks, the newest block first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aiokafka import TopicPartition

from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings

FIRST_BLOCK = 8_000
"""The records of a partition in the first block. Each further block is four times as large, since seeking backwards costs a
fetch or two."""
RECORDS_AT_ONCE = 5_000
"""How many records are passed on before other tasks of the event loop run: about 30 ms."""


class Reader(Protocol):
    """Receives the records."""

    def take_older(self, topic: str, records: Sequence[Any]) -> None:
        """Take records of one partition of a logical topic, in offset order, of a block that is older than all before."""
        ...

    def end_of_block(self, last: bool) -> None: ...
    def has_read(self, share: float) -> None:
        """Note that this ``share`` of the offsets has been read."""
        ...


class OffsetSpan(NamedTuple):
    """The offsets of a partition from ``begin`` up to, but without, ``end``."""

    begin: int
    end: int


class BackwardsReader:
    """Passes the committed records in one span of offsets of each partition to a reader. ``logical``: the logical names of
    topics by their names in Kafka."""

    def __init__(
        self, settings: Settings, spans: Mapping[TopicPartition, OffsetSpan], logical: Mapping[str, str], reader: Reader
    ) -> None:
        self._settings, self._logical, self._reader = settings, logical, reader
        self._spans = {place: span for place, span in spans.items() if span.begin < span.end}
        self._total = sum(span.end - span.begin for span in self._spans.values())
        self._left = self._total

    async def run(self) -> None:
        """Read until all records have been passed on."""
        self._tell()
        # Verifying checksums would take as much time as everything else. TCP has its own, and nothing is counted from this.
        self._consumer = consumer(
            self._settings, max_partition_fetch_bytes=1 << 20, fetch_max_bytes=8 << 20, check_crcs=False
        )  # fmt: skip
        await self._consumer.start()
        try:
            size = FIRST_BLOCK
            while self._spans:
                block = {place: OffsetSpan(max(of.begin, of.end - size), of.end) for place, of in self._spans.items()}
                await self._read(block)
                left = {place: OffsetSpan(of.begin, block[place].begin) for place, of in self._spans.items()}
                self._spans = {place: of for place, of in left.items() if of.begin < of.end}
                self._reader.end_of_block(not self._spans)
                size *= 4
        finally:
            await self._consumer.stop()

    async def _read(self, block: Mapping[TopicPartition, OffsetSpan]) -> None:
        self._consumer.assign(list(block))
        at = {place: span.begin for place, span in block.items()}
        for place, begin in at.items():
            self._consumer.seek(place, begin)
        while at:
            batches = await self._consumer.getmany(*at, timeout_ms=500, max_records=RECORDS_AT_ONCE)
            for place, records in batches.items():
                end = block[place].end
                within = records if records[-1].offset < end else [record for record in records if record.offset < end]
                self._reader.take_older(self._logical[place.topic], within)
                await asyncio.sleep(0)
            for place in list(at):
                end = block[place].end
                reached = min(await self._consumer.position(place), end)
                self._left -= max(reached - at[place], 0)
                at[place] = reached
                if reached >= end:
                    del at[place]
                    self._consumer.pause(place)
            self._tell()

    def _tell(self) -> None:
        self._reader.has_read(1.0 - self._left / self._total if self._left else 1.0)
