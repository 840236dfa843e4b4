"""Following a topic whose newest records come first: everything comes once, and in the order that is promised."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tidegauge.engine.stage import METRICS
from tidegauge.stream import reading_backwards
from tidegauge.stream.broker import Broker
from tidegauge.stream.following import Follower, Start
from tidegauge.stream.settings import Settings

COUNT, LAST, PARTITIONS = 200, 3, 3


class Taken:
    """What a follower hands over: a list of records' numbers for what is followed, and for each block of what is older."""

    def __init__(self) -> None:
        self.followed: list[int] = []
        self.blocks: list[list[int]] = [[]]
        self.shares: list[float] = []
        self.topics: set[str] = set()
        self.all_read = asyncio.Event()

    def take(self, topic: str, records: Sequence[Any]) -> None:
        self.topics.add(topic)
        self.followed += [int(record.value) for record in records]

    def take_older(self, topic: str, records: Sequence[Any]) -> None:
        self.topics.add(topic)
        self.blocks[-1] += [int(record.value) for record in records]

    def end_of_block(self, last: bool) -> None:
        self.blocks.append([])
        if last:
            self.all_read.set()

    def has_read(self, share: float) -> None:
        self.shares.append(share)


async def _write(settings: Settings, topic: str) -> None:
    """Records whose value is their number, partition by partition in turn; every tenth in a transaction that is aborted."""
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    async with AIOKafkaProducer(transactional_id=topic, **settings.client()) as producer:
        for number in range(COUNT):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, str(number).encode(), partition=number % PARTITIONS)
            await (producer.abort_transaction() if number % 10 == 9 else producer.commit_transaction())


@pytest.mark.timeout(120)
def test_the_newest_records_come_first_and_each_once(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_backwards, "FIRST_BLOCK", 10)
    settings = Settings(bootstrap=broker.bootstrap, topics={METRICS: "following"})

    async def run() -> Taken:
        await _write(settings, "following")
        taken = Taken()
        follower = Follower(settings, {METRICS: Start(LAST, older=True)}, taken)
        running = asyncio.create_task(follower.run())
        await asyncio.wait_for(follower.ready.wait(), 60)
        await asyncio.wait_for(taken.all_read.wait(), 60)
        async with AIOKafkaProducer(**settings.client()) as producer:
            await producer.send_and_wait("following", str(COUNT).encode(), partition=0)
        while COUNT not in taken.followed:
            await asyncio.sleep(0.05)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return taken

    taken = asyncio.run(run())
    wanted = [number for number in range(COUNT) if number % 10 != 9]
    assert sorted(chain(taken.followed, *taken.blocks)) == [*wanted, COUNT]
    assert len([block for block in taken.blocks if block]) > 2
    for partition in range(PARTITIONS):
        own = [[n for n in block if n % PARTITIONS == partition and n != COUNT] for block in [taken.followed, *taken.blocks]]
        assert list(chain(*reversed(own))) == [n for n in wanted if n % PARTITIONS == partition]
        assert len(own[0]) <= LAST
    assert taken.topics == {METRICS}
    assert taken.shares == sorted(taken.shares)
    assert (taken.shares[0], taken.shares[-1]) == (0.0, 1.0)
