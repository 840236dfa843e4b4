"""A consumer stops like any other thing where its broker has died, and does not look as if its caller were cancelled."""

import asyncio
import logging

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tidegauge.stream.broker import Broker
from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings

NEVER = 600_000
"""Milliseconds until the fetcher tries again."""


async def stopped(broker: Broker, caplog) -> None:
    settings = Settings(bootstrap=broker.bootstrap)
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    await admin.create_topics([NewTopic("t", 1, 1)])
    await admin.close()
    reader = consumer(settings, group_id=None, retry_backoff_ms=NEVER)
    await reader.start()
    reader.assign([TopicPartition("t", 0)])
    await reader.seek_to_beginning()
    await reader.getmany(timeout_ms=200)
    broker.kill()
    while "Failed fetch messages" not in caplog.text:
        await asyncio.sleep(0.05)
    await reader.stop()


def test_a_consumer_whose_fetcher_waits_to_try_again_stops_in_order(caplog) -> None:
    with Broker() as broker, caplog.at_level(logging.ERROR, "aiokafka"):
        asyncio.run(stopped(broker, caplog))
