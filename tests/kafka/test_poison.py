"""A record that no stage can process: the worker goes on, the record is a dead letter, and nothing is left unread."""

import asyncio
import random
import time

import pytest
from aiokafka import AIOKafkaProducer

from support.cluster import Cluster
from support.events import stream
from support.traffic import RECORD
from tidegauge.engine.refusals import UNPROCESSABLE
from tidegauge.engine.stage import PREDICTIONS, PROFILES

POISON = [b"\xc1\xff", b""]


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"poison-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def poison(cluster):
    async def run():
        producer = AIOKafkaProducer(**cluster.settings.client())
        await producer.start()
        for value in POISON:
            await producer.send_and_wait(cluster.settings.topic(PROFILES), value=value, key=b"churn", partition=0)
        await producer.stop()

    asyncio.run(run())


def lag(cluster):
    lines = [line for line in cluster.scrape(cluster.ports[0]).splitlines() if line.startswith("tidegauge_consumer_lag{")]
    return {line.split("{")[1].split("}")[0]: float(line.split()[-1]) for line in lines}


def caught_up(cluster):
    """Whether nothing is left to read at some moment; heartbeats come all the time."""
    for _ in range(60):
        left = lag(cluster)
        if left and not any(left.values()):
            return True
        time.sleep(0.5)
    return False


def test_a_worker_goes_on_beside_what_it_cannot_process(cluster):
    events = [(topic, value) for topic, value in stream(5, 400) if topic == PREDICTIONS]
    worker = cluster.start(0)
    cluster.send(events[:200])
    cluster.wait_for_predictions(100, "1m")
    poison(cluster)
    cluster.send(events[200:])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(cluster.read("dead-letters")) < len(POISON):
        time.sleep(0.5)
    letters = cluster.read("dead-letters")
    assert [letter.value for letter in letters] == POISON
    headers = [dict(letter.headers) for letter in letters]
    assert {h["reason"].decode() for h in headers} == {UNPROCESSABLE}
    assert {h["topic"].decode() for h in headers} == {PROFILES}
    assert all(h["message"].decode().startswith(f"{UNPROCESSABLE}: ") for h in headers)
    assert caught_up(cluster)
    assert worker.poll() is None
    assert f'tidegauge_dead_lettered_total{{reason="{UNPROCESSABLE}"}} {len(POISON)}.0' in cluster.scrape(cluster.ports[0])
    assert "dead letters, which cannot be processed" in cluster.log()
