"""What was fetched and did not reach its task, as when a rebalance discards it, is fetched again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from support.cluster import Cluster
from support.servers import wait_for
from support.topics import made
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.stream.broker import Broker
from tidegauge.stream.consumer import Chunk, consumer
from tidegauge.stream.faust_application import faust_application
from tidegauge.stream.settings import Settings


@pytest.fixture
def cluster(broker: Broker, tmp_path: Path):
    found = Cluster(broker, f"lost-{random.randrange(10**6)}", tmp_path)
    found.apply(RECORD)
    yield found
    found.stop()


@pytest.mark.long
def test_lost_chunks_are_fetched_again(cluster: Cluster, tmp_path: Path) -> None:
    """A third of all chunks is lost on the way to the tasks, also where no further one follows. The worker lives on."""
    events, end = traffic(71, 1500)
    worker = cluster.start(0, TIDEGAUGE_LOSE="chunk:0.33")
    wait_for(lambda: "worker reads" in cluster.log(), 60, "a start")
    cluster.send(events + end, pause=0.15, step=60)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m", 200, quiet=30), replayed(events + end, tmp_path))
    assert worker.poll() is None
    assert "were lost on the way and are fetched again" in cluster.log()


def test_what_was_fetched_before_anything_was_committed_is_fetched_again(broker: Broker, tmp_path: Path) -> None:
    """Faust goes back to the committed offsets after a rebalance. Of a partition without any, this is its beginning."""
    name = f"seek-{random.randrange(10**6)}"
    settings = Settings(bootstrap=broker.bootstrap, app_id=name, state_dir=tmp_path)
    made(broker, name, partitions=1)

    async def run() -> list[int]:
        found: asyncio.Queue[int] = asyncio.Queue()
        app = faust_application(settings)

        async def take(stream: Any) -> None:
            async for event in stream.noack().events():
                found.put_nowait(event.message.value.begin)

        app.agent(app.topic(name, key_type=bytes, value_type=bytes), name="take")(take)
        await app.start()
        try:
            producer = AIOKafkaProducer(**settings.client())
            await producer.start()
            await producer.send_and_wait(name, b"{}")
            await producer.stop()
            first = await asyncio.wait_for(found.get(), 60)
            await app.consumer.perform_seek()
            return [first, await asyncio.wait_for(found.get(), 30)]
        finally:
            await app.stop()

    assert asyncio.run(run()) == [0, 0]


def test_a_partition_that_a_rebalance_takes_while_offsets_are_asked_for_is_left_alone(broker: Broker, tmp_path: Path) -> None:
    """As where the group's coordinator has just died: it is waited for, and a rebalance takes partitions away meanwhile."""
    name = f"taken-{random.randrange(10**6)}"
    settings = Settings(bootstrap=broker.bootstrap, app_id=name, state_dir=tmp_path)
    made(broker, name, partitions=2)

    def member() -> Any:
        async def take(stream: Any) -> None:
            async for _ in stream.noack().events():
                pass

        app = faust_application(settings)
        app.agent(app.topic(name, key_type=bytes, value_type=bytes), name="take")(take)
        return app

    async def run() -> None:
        first, second = member(), member()
        await first.start()
        try:
            while len(first.consumer.assignment()) < 2:
                await asyncio.sleep(0.1)
            client = first.consumer._thread._consumer
            ask = client._coordinator.fetch_committed_offsets

            async def late(places: list[TopicPartition]) -> Any:
                client._coordinator.fetch_committed_offsets = ask
                found = await ask(places)
                while len(client.assignment()) != 1:
                    await asyncio.sleep(0.05)
                return found

            client._coordinator.fetch_committed_offsets = late
            seeking = asyncio.ensure_future(first.consumer.perform_seek())
            await second.start()
            await asyncio.wait_for(seeking, 90)
            assert len(client.assignment()) == 1
        finally:
            await second.stop()
            await first.stop()

    asyncio.run(run())


def test_chunks_follow_on_each_other_without_a_gap(broker: Broker, tmp_path: Path) -> None:
    """Markers of transactions and aborted records belong to the chunk that follows on them, or to the one before."""
    name = f"chunks-{random.randrange(10**6)}"
    settings = Settings(bootstrap=broker.bootstrap, app_id=name, state_dir=tmp_path)
    made(broker, name, partitions=1)
    rng = random.Random(5)
    enough = 10

    async def write(producer: Any) -> None:
        for _ in range(40):
            with contextlib.suppress(ZeroDivisionError):
                async with producer.transaction():
                    for _ in range(rng.randrange(4)):
                        await producer.send(name, b"{}")
                    if rng.random() < 0.3:
                        raise ZeroDivisionError

    async def run() -> tuple[list[Chunk], int]:
        producer = AIOKafkaProducer(transactional_id=name, **settings.client())
        reader = consumer(settings)
        await producer.start()
        await reader.start()
        place = TopicPartition(name, 0)
        reader.assign([place])
        writing = asyncio.create_task(write(producer))
        chunks: list[Chunk] = []
        end = None
        while end is None or await reader.position(place) < end:
            # However late it begins, it does not have everything in a few large ones.
            most = rng.choice([1, 2]) if len(chunks) <= enough else rng.choice([1, 2, 500])
            chunks += (await reader.getmany(place, timeout_ms=50, max_records=most)).values()
            if writing.done() and end is None:
                end = (await reader.end_offsets([place]))[place]
        await reader.stop()
        await producer.stop()
        return chunks, end

    chunks, end = asyncio.run(run())
    assert len(chunks) > enough
    assert chunks[0].begin == 0
    for before, after in itertools.pairwise(chunks):
        assert after.begin == before.end
    for chunk in chunks:
        assert chunk.begin <= chunk[0].offset
        assert chunk[-1].offset < chunk.end <= end
