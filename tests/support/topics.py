"""Topics of a broker, made and read as they are: keys, partitions and headers too."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings
from tidegauge.stream.topics import create


class Read(NamedTuple):
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def made(broker: Broker | Settings, *names: str, partitions: int = 4) -> None:
    """Make the topics, and wait until they are shown."""

    async def run() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await create(admin, [NewTopic(name, partitions, 1) for name in names], names)
        finally:
            await admin.close()

    asyncio.run(run())


def read(broker: Broker | Settings, name: str, isolation: str = "read_committed") -> list[Read]:
    """All records that there are, each partition's in order. What is committed is shown up to the first transaction whose end
    is not yet written."""
    reader = Consumer(
        {
            "bootstrap.servers": broker.bootstrap, "group.id": "tests", "enable.auto.commit": False,
            "auto.offset.reset": "earliest", "enable.partition.eof": True, "isolation.level": isolation,
        }
    )  # fmt: skip
    try:
        places = [TopicPartition(name, number, 0) for number in reader.list_topics(name, 10).topics[name].partitions]
        reader.assign(places)
        found: list[Any] = []
        left = {place.partition for place in places}
        while left:
            (message,) = reader.consume(1, 10)
            if (error := message.error()) is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                left.discard(message.partition())
    finally:
        reader.close()
    found.sort(key=lambda message: (message.partition(), message.offset()))
    return [Read(m.partition(), m.offset(), m.key(), m.value(), tuple(m.headers() or ())) for m in found]
