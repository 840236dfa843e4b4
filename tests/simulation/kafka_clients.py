"""The producer of the model: what tidegauge calls of aiokafka's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import ConcurrentTransactions, KafkaError, KafkaTimeoutError, ProducerFenced
from aiokafka.producer.producer import TransactionContext
from aiokafka.structs import OffsetAndMetadata

from simulation.kafka_model import KafkaModel, ProducerId
from simulation.seeded_loop import VirtualTime
from simulation.simulated_network import RETRY_SECONDS, Network
from tidegauge.engine.stage import Record
from tidegauge.stream.partitioning import partition_of

BATCH_RECORDS = 2


class Acknowledgement(NamedTuple):
    """What the producer says of a record that was written."""

    offset: int


class Clients:
    """Makes the clients of one simulated cluster, with the names and arguments of aiokafka's."""

    def __init__(self, network: Network, kafka: KafkaModel) -> None:
        self.network, self.kafka = network, kafka

    def producer(self, *, transactional_id: str, **settings: Any) -> TransactionalProducer:
        return TransactionalProducer(self, transactional_id)

    async def patiently(self, what: str, request: Callable[[], Any]) -> Any:
        """Like ``Network.ask``, again and again while an earlier transaction is still being ended."""
        while True:
            try:
                return await self.network.ask(what, request)
            except ConcurrentTransactions:
                await asyncio.sleep(RETRY_SECONDS)


class RecordBatch:
    """As aiokafka's builder of batches, of which each is full soon."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(
        self, *, timestamp: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Record | None:
        """Returns None if the batch is full."""
        if len(self.records) == BATCH_RECORDS:
            return None
        record = Record(-1, timestamp, key, value, tuple(headers))
        self.records.append(record)
        return record


class _Transactions:
    """What ``TransactionContext`` asks of a producer."""

    def __init__(self) -> None:
        self.fatal = False

    def is_fatal_error(self) -> bool:
        return self.fatal


class TransactionalProducer:
    """As ``AIOKafkaProducer`` with a transactional id: a sender in the background writes what is queued, one partition after
    another."""

    def __init__(self, clients: Clients, transactional_id: str) -> None:
        self._clients, self._transactional_id = clients, transactional_id
        self._id = ProducerId(transactional_id, -1)
        self._txn_manager = _Transactions()
        self._queued: dict[TopicPartition, list[tuple[Record, asyncio.Future[Acknowledgement]]]] = {}
        self._added: set[TopicPartition] = set()
        self._used = False
        self._sequence = 0
        self._sender: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def start(self) -> None:
        kafka, name = self._clients.kafka, self._transactional_id
        self._id = await self._clients.patiently(f"init producer {name}", lambda: kafka.init_producer(name))
        self._sender = asyncio.create_task(self._send_all())

    async def stop(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])

    def transaction(self) -> Any:
        return TransactionContext(self)

    async def begin_transaction(self) -> None:
        if self._txn_manager.fatal:
            raise ProducerFenced
        self._added, self._used = set(), False

    async def send(
        self, topic: str, value: bytes | None = None, key: bytes | None = None, partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> asyncio.Future[Acknowledgement]:  # fmt: skip
        if partition is None:
            partition = partition_of(key or b"", self._clients.kafka.partitions(topic))
        record = Record(-1, int(VirtualTime.time() * 1000), key, value, tuple(headers))
        return self._queue(TopicPartition(topic, partition), [record])

    def create_batch(self) -> RecordBatch:
        return RecordBatch()

    async def send_batch(self, batch: RecordBatch, topic: str, *, partition: int) -> asyncio.Future[Acknowledgement]:
        return self._queue(TopicPartition(topic, partition), batch.records)

    def _queue(self, place: TopicPartition, records: Sequence[Record]) -> asyncio.Future[Acknowledgement]:
        """Queue records; return the acknowledgement of the first."""
        if self._txn_manager.fatal:
            raise ProducerFenced
        loop, queued = asyncio.get_running_loop(), self._queued.setdefault(place, [])
        made = [(record, loop.create_future()) for record in records]
        queued.extend(made)
        self._wake.set()
        return made[0][1]

    async def _send_all(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queued:
                place = next(iter(self._queued))
                await self._send_batch(place, self._queued.pop(place))

    async def _send_batch(self, place: TopicPartition, queued: list[tuple[Record, asyncio.Future[Acknowledgement]]]) -> None:
        kafka, producer = self._clients.kafka, self._id
        self._sequence += 1
        records, sequence = [record for record, _ in queued], self._sequence
        try:
            await self._add(place)
            first = await self._clients.network.ask(
                f"produce {len(records)} to {place.topic} {place.partition}",
                lambda: kafka.produce(producer, sequence, place, records),
            )
        except KafkaError as error:
            # Of records that were not written in time aiokafka only asks that their transaction be aborted.
            self._txn_manager.fatal = not isinstance(error, KafkaTimeoutError)
            for _, acknowledgement in queued:
                if not acknowledgement.done():
                    acknowledgement.set_exception(error)
                    # Whoever gave up waiting does not ask for it.
                    acknowledgement.exception()
            return
        for number, (_, acknowledgement) in enumerate(queued):
            if not acknowledgement.done():
                acknowledgement.set_result(Acknowledgement(first + number))

    async def _add(self, place: TopicPartition) -> None:
        if place not in self._added:
            kafka, producer = self._clients.kafka, self._id
            await self._clients.patiently(f"add {place.topic} {place.partition}", lambda: kafka.add_partition(producer, place))
            self._added.add(place)
            self._used = True

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, OffsetAndMetadata], group: str) -> None:
        kafka, producer, clients = self._clients.kafka, self._id, self._clients
        try:
            await clients.patiently("add offsets", lambda: kafka.add_offsets(producer, group))
            self._used = True
            said = ", ".join(f"{place.topic} {place.partition}: {of.offset}" for place, of in offsets.items())
            await clients.network.ask(f"offsets {said}", lambda: kafka.commit_in_transaction(producer, group, offsets))
        except KafkaError:
            self._txn_manager.fatal = True
            raise

    async def commit_transaction(self) -> None:
        await self._end(True)

    async def abort_transaction(self) -> None:
        for queued in self._queued.values():
            for _, acknowledgement in queued:
                acknowledgement.cancel()
        self._queued.clear()
        await self._end(False)

    async def _end(self, commit: bool) -> None:
        if self._txn_manager.fatal:
            raise ProducerFenced
        if not self._used:
            return
        kafka, producer = self._clients.kafka, self._id
        word = "commit" if commit else "abort"
        try:
            await self._clients.patiently(f"{word} {self._transactional_id}", lambda: kafka.end_transaction(producer, commit))
        except KafkaError:
            self._txn_manager.fatal = True
            raise
