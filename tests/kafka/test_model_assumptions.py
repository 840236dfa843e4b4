"""What the simulation's model of Kafka (``tests/simulation/kafka_model.py``) takes for granted, asked of a real broker."""

import asyncio
import uuid
from contextlib import AsyncExitStack

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import CommitFailedError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from tidegauge.stream.consumer import committed, consumer
from tidegauge.stream.settings import Settings

SECONDS = 60


class Place:
    """A topic of its own on the broker, and clients of it that are stopped at the end."""

    def __init__(self, settings, name, parts):
        self.settings, self.name, self._parts = settings, name, parts
        self.place = TopicPartition(name, 0)

    async def producer(self, **arguments):
        started = AIOKafkaProducer(
            transactional_id=self.name, linger_ms=0, transaction_timeout_ms=60_000, **arguments, **self.settings.client()
        )
        await started.start()
        self._parts.push_async_callback(self._stop, started)
        return started

    async def _stop(self, producer):
        # A producer that was fenced off cannot end its transaction.
        stopping = asyncio.ensure_future(producer.stop())
        await asyncio.wait([stopping], timeout=3)
        if not stopping.cancel():
            stopping.exception()

    async def consumer(self, **arguments):
        started = consumer(self.settings, group_id=self.name, **arguments)
        await started.start()
        self._parts.push_async_callback(started.stop)
        return started

    async def committed(self):
        return (await committed(await self.consumer(), [self.place])).get(self.place)

    async def values(self):
        """The committed records, read to the last stable offset. It moves a moment after a commit is answered; whoever starts
        a producer first has waited for it."""
        reader = await self.consumer()
        reader.assign([self.place])
        end = (await reader.end_offsets([self.place]))[self.place]
        await reader.seek_to_beginning(self.place)
        found = []
        while await reader.position(self.place) < end:
            for records in (await reader.getmany(timeout_ms=200)).values():
                found += [record.value for record in records]
        return found

    async def end(self, isolation="read_committed"):
        reader = await self.consumer(isolation_level=isolation)
        return (await reader.end_offsets([self.place]))[self.place]

    def offset(self, number):
        return {self.place: OffsetAndMetadata(number, "")}


@pytest.fixture
def run(broker):
    """Runs a coroutine function with a ``Place``, and with a time limit."""

    def run(test):
        async def whole():
            settings, name = Settings(bootstrap=broker.bootstrap), f"assumed-{uuid.uuid4().hex[:8]}"
            async with AsyncExitStack() as parts:
                admin = AIOKafkaAdminClient(**settings.client())
                await admin.start()
                parts.push_async_callback(admin.close)
                await admin.create_topics([NewTopic(name, 1, 1)])
                place = Place(settings, name, parts)
                place.admin = admin
                await test(place)

        asyncio.run(asyncio.wait_for(whole(), SECONDS))

    return run


def test_a_producer_with_an_older_epoch_is_fenced_off_wherever_it_stands(run):
    async def test(place):
        before_it_sends, while_it_sends = await place.producer(), None
        while_it_sends = await place.producer()
        await while_it_sends.begin_transaction()
        await while_it_sends.send_and_wait(place.name, b"zombie")
        owner = await place.producer()
        with pytest.raises(ProducerFenced):
            async with before_it_sends.transaction():
                await before_it_sends.send_and_wait(place.name, b"zombie")
        with pytest.raises(ProducerFenced):
            await while_it_sends.commit_transaction()
        async with owner.transaction():
            await owner.send_and_wait(place.name, b"owner")
        await place.producer()
        assert await place.values() == [b"owner"]

    run(test)


def test_a_fenced_producer_commits_no_offsets(run):
    async def test(place):
        zombie, owner = await place.producer(), await place.producer()
        async with owner.transaction():
            await owner.send_offsets_to_transaction(place.offset(5), place.name)
        with pytest.raises(ProducerFenced):
            async with zombie.transaction():
                await zombie.send_offsets_to_transaction(place.offset(3), place.name)
        await place.producer()
        assert await place.committed() == 5

    run(test)


def test_a_new_epoch_ends_the_transaction_of_the_old_one_before_it_is_given(run):
    async def test(place):
        former = await place.producer()
        await former.begin_transaction()
        await former.send_and_wait(place.name, b"unfinished")
        await former.send_offsets_to_transaction(place.offset(1), place.name)
        assert await place.end() == 0
        assert await place.end("read_uncommitted") == 1
        await place.producer()
        # The record and the marker that aborts it: nothing of the former transaction holds the last stable offset back.
        assert await place.end() == 2
        assert await place.values() == []
        assert await place.committed() is None

    run(test)


def test_aborted_records_are_not_read_and_their_offsets_not_committed(run):
    async def test(place):
        producer = await place.producer()
        for value, abort in ((b"first", False), (b"aborted", True), (b"last", False)):
            await producer.begin_transaction()
            await producer.send_and_wait(place.name, value)
            if abort:
                await producer.send_offsets_to_transaction(place.offset(1), place.name)
                await producer.abort_transaction()
            else:
                await producer.commit_transaction()
        # A transaction that is begun waits until the one before has ended everywhere, so a last one makes all visible.
        async with producer.transaction():
            await producer.send_and_wait(place.name, b"behind")
        await place.producer()
        assert await place.values() == [b"first", b"last", b"behind"]
        assert await place.committed() is None
        # Each transaction has its marker, which takes an offset.
        assert await place.end() == 8

    run(test)


def test_nothing_behind_an_open_transaction_is_read(run):
    async def test(place):
        open_one = await place.producer()
        await open_one.begin_transaction()
        await open_one.send_and_wait(place.name, b"open")
        plain = AIOKafkaProducer(**place.settings.client())
        await plain.start()
        await plain.send_and_wait(place.name, b"behind")
        await plain.stop()
        assert await place.values() == []
        assert await place.end("read_uncommitted") == 2
        await open_one.abort_transaction()
        await place.producer()
        assert await place.values() == [b"behind"]

    run(test)


def test_whoever_has_the_epoch_commits_offsets_in_a_transaction_a_member_or_not(run):
    async def test(place):
        member = await place.consumer()
        member.subscribe([place.name])
        while not member.assignment():
            await member.getmany(timeout_ms=100)
        producer = await place.producer()
        async with producer.transaction():
            await producer.send_offsets_to_transaction(place.offset(7), place.name)
        await place.producer()
        assert await place.committed() == 7

    run(test)


def test_a_member_of_an_old_generation_commits_no_offsets(run):
    async def test(place):
        member = await place.consumer()
        member.subscribe([place.name])
        while not member.assignment():
            await member.getmany(timeout_ms=100)
        await member.commit({place.place: 1})
        coordinator = member._coordinator
        current, coordinator.generation = coordinator.generation, coordinator.generation - 1
        with pytest.raises(CommitFailedError):
            await member.commit({place.place: 3})
        coordinator.generation = current
        assert await place.committed() == 1

    run(test)


def test_deleted_records_move_the_beginning_and_nothing_else(run):
    async def test(place):
        producer = await place.producer()
        for value in (b"a", b"b", b"c"):
            async with producer.transaction():
                await producer.send_and_wait(place.name, value)
        await place.producer()
        end = await place.end()
        await place.admin.delete_records({place.place: RecordsToDelete(before_offset=2)})
        assert (await (await place.consumer()).beginning_offsets([place.place]))[place.place] == 2
        assert await place.end() == end
        assert await place.values() == [b"b", b"c"]

    run(test)


def test_an_offset_is_read_with_its_metadata_and_minus_one_where_there_is_none(run):
    async def test(place):
        producer = await place.producer()
        async with producer.transaction():
            await producer.send_and_wait(place.name, b"record")
            await producer.send_offsets_to_transaction({place.place: OffsetAndMetadata(1, "17.5")}, place.name)
        # The next one begins when everybody knows how the transaction ended.
        await place.producer()
        listed = place.admin.list_consumer_group_offsets
        assert await listed(place.name, partitions=[place.place]) == {place.place: OffsetAndMetadata(1, "17.5")}
        assert (await listed(f"{place.name}-none", partitions=[place.place]))[place.place].offset == -1
        assert await listed(f"{place.name}-none") == {}

    run(test)


def test_batches_are_written_in_order_and_counted_before_they_are_committed(run):
    async def test(place):
        producer = await place.producer()
        async with producer.transaction():
            written = []
            for value in (b"first", b"second"):
                batch = producer.create_batch()
                assert batch.append(timestamp=None, key=b"0:0", value=value, headers=[]) is not None
                written.append(await producer.send_batch(batch, place.name, partition=0))
            assert [(await of).offset for of in written] == [0, 1]
            assert await place.end("read_uncommitted") == 2
            assert await place.end() == 0
        await place.producer()
        assert await place.values() == [b"first", b"second"]

    run(test)
