"""A Faust transport that hands over whole fetched chunks: one message for all the records fetched of a partition.

Faust's path costs 60-200 µs a message; a chunk makes that nothing. Everything else stays Faust's: membership, assignment,
flow control.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiokafka.consumer import fetcher
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage

from tidegauge.stage import Record

NAME = "tidegauge"


def _record(self: fetcher.PartitionRecords, place: Any, record: Any) -> Record:
    return Record(record.offset, record.timestamp, record.key, record.value)


# aiokafka makes a frozen dataclass of eleven members of every record, 2.5 µs each; nothing in a worker reads more than these
# four. It has no setting for it.
fetcher.PartitionRecords._consumer_record = _record


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust offers no setting for these: it reads uncommitted records unless it runs its own transactions, and
        # waits 1.5 s for a fetch.
        original = driver.aiokafka.AIOKafkaConsumer

        def committed(**arguments: Any) -> Any:
            return original(**{**arguments, "isolation_level": "read_committed", "fetch_max_wait_ms": 100})

        driver.aiokafka.AIOKafkaConsumer = committed
        try:
            return super()._create_worker_consumer(transport)
        finally:
            driver.aiokafka.AIOKafkaConsumer = original


class _Consumer(driver.Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for place, chunk in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if chunk and (active is None or place in active or place in self._buffered_partitions):
                last = chunk[-1]
                yield place, ConsumerMessage(
                    place.topic, place.partition, last.offset, last.timestamp / 1000.0, 0, (), None,
                    chunk, None, 0, 0, place, generation_id=generation,
                )  # fmt: skip

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # A chunk looks like a gap in the offsets; Faust would remember each for ever (its commits are off anyway).
        return


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    Consumer = _Consumer


TRANSPORTS.aliases[NAME] = f"{__name__}:ChunkTransport"
