"""A record that no stage can process: the worker goes on, the record is a dead letter, and nothing is left unread."""

import asyncio
import random
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from support.cluster import Cluster
from support.events import stream
from support.traffic import RECORD
from tidegauge.engine.refusals import UNPROCESSABLE
from tidegauge.engine.stage import DEAD_LETTERS, PREDICTIONS, PROFILES
from tidegauge.stream.topics import create

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


def send_large(cluster, values):
    """As a producer that compresses: a topic takes what is small enough compressed."""

    async def run():
        admin = AIOKafkaAdminClient(**cluster.settings.client())
        await admin.start()
        default = {"max.message.bytes": "1048588"}
        await create(admin, [NewTopic(cluster.settings.topic(DEAD_LETTERS), 4, 1, topic_configs=default)])
        await admin.close()
        producer = AIOKafkaProducer(max_request_size=64 << 20, compression_type="gzip", **cluster.settings.client())
        await producer.start()
        for value in values:
            await producer.send_and_wait(cluster.settings.topic(PREDICTIONS), value=value, key=b"k", partition=0)
        await producer.stop()

    asyncio.run(run())


@pytest.mark.parametrize("arguments", [(), pytest.param(("--rekey",), marks=pytest.mark.long)])
def test_a_record_larger_than_any_topic_takes_is_a_dead_letter_that_says_so(cluster, arguments):
    values = [b'{"features": "' + b"x" * size + b'"}' for size in (2 << 20, (32 << 20) - 40, 50 << 20)]
    send_large(cluster, values)
    worker = cluster.start(0, *arguments)
    cluster.send([(topic, value) for topic, value in stream(5, 100) if topic == PREDICTIONS])
    cluster.wait_for_predictions(50, "1m")
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and len(cluster.read("dead-letters")) < len(values):
        time.sleep(0.5)
    letters = cluster.read("dead-letters")
    said = [dict(letter.headers) for letter in letters]
    assert {h["reason"] for h in said} == {b"too_large"}
    assert [h["cut"].split()[1] for h in said] == [str(len(value)).encode() for value in values]
    assert all(letter.key == b"k" and value.startswith(letter.value) for letter, value in zip(letters, values, strict=True))
    assert caught_up(cluster)
    assert worker.poll() is None
