"""Measuring the group keeps nothing of what it has fetched for that."""

import asyncio
import gc

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.consumer import fetcher

from support.topics import made
from tidegauge.stream.group import Group
from tidegauge.stream.settings import Settings


def test_what_a_measurement_has_fetched_is_freed_without_the_garbage_collector(broker):
    settings, place = Settings(bootstrap=broker.bootstrap), TopicPartition("measured", 0)
    made(broker, place.topic, partitions=1)

    async def left():
        async with AIOKafkaProducer(max_batch_size=1 << 20, linger_ms=500, **settings.client()) as producer:
            await asyncio.gather(*[producer.send_and_wait(place.topic, bytes(1000), partition=0) for _ in range(900)])
        group = Group(settings)
        await group.start()
        try:
            gc.collect()
            gc.disable()
            for _ in range(5):
                assert await group._without_records({place: (0, 900)}) == set()
            return sum(isinstance(of, fetcher.PartitionRecords) for of in gc.get_objects())
        finally:
            gc.enable()
            await group.stop()

    # The consumer itself holds the newest.
    assert asyncio.run(left()) <= 1
