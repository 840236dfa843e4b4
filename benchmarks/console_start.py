"""How long the console takes to start over a topic of many metrics records, and the memory it then has.

    python benchmarks/console_start.py --records 300000
    python benchmarks/console_start.py --records 2000000 --bytes 1000 --dead-letters 1000000

Fills the topic `metrics` of a real Kafka with records as the stages write them (those of a small stream, under many model
names; with `--bytes` only short ones, some members left out) and the topic `dead-letters`, starts `tidegauge console`, and
measures how long it takes until the newest windows can be looked at (/readyz), and until all records have been read. The peer,
in a process of its own, is an aiokafka consumer as it comes, that reads the topic `metrics` and does nothing with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from tidegauge.engine.stage import DEAD_LETTERS, METRICS
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.settings import Settings
from workload import Program

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def samples(most: int | None) -> list[tuple[list[object], bytes]]:
    """Keys and values of the records of a small stream, every revision; none of more than ``most`` bytes."""
    from support.serving import outputs

    found = [(msgspec.json.decode(o.key), o.value) for o in outputs() if o.topic == METRICS and o.key and o.value]
    return (
        found if most is None else [(key, value) for key, value in ((k, _cut(v, most)) for k, v in found) if len(value) <= most]
    )


def _cut(value: bytes, most: int) -> bytes:
    record = msgspec.json.decode(value)
    for member in ("calibration", "performance_interval", "estimated", "prediction", "fairness", "data", "estimate_error"):
        if len(value) <= most:
            break
        record.pop(member, None)
        value = msgspec.json.encode(record)
    return value


async def fill(settings: Settings, count: int, most: int | None) -> int:
    """Write the records; their bytes."""
    await models_topic.ensure_topics(settings)
    taken = samples(most)
    size = 0
    producer = AIOKafkaProducer(linger_ms=20, max_batch_size=1 << 20, acks=1, **settings.client())
    async with producer:
        for number in range(count):
            key, value = taken[number % len(taken)]
            encoded = msgspec.json.encode([f"model{number // len(taken):05}", *key[1:]])
            await producer.send(settings.topic(METRICS), value=value, key=encoded)
            size += len(value)
        await producer.flush()
    return size


async def fill_dead_letters(settings: Settings, count: int) -> None:
    producer = AIOKafkaProducer(linger_ms=20, max_batch_size=1 << 20, acks=1, **settings.client())
    value = b'{"ts": 1758931200.25, "model_version": "churn_xgb:3", "features": {"age": 41, "plan": "b", "income": null}'
    async with producer:
        for number in range(count):
            headers = [("reason", b"invalid_json"), ("topic", b"predictions"), ("partition", b"0"), ("offset", b"%d" % number)]
            await producer.send(settings.topic(DEAD_LETTERS), value=value, key=b"%d" % number, headers=headers)
        await producer.flush()


PEER = """
import asyncio, sys, time
from aiokafka import AIOKafkaConsumer, TopicPartition

async def main(bootstrap, topic):
    began, used = time.monotonic(), time.process_time()
    async with AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        read = 0
        ends = await consumer.end_offsets(list(consumer.assignment()))
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500, max_records=5000)).values():
                read += len(records)
    print(read, time.monotonic() - began, time.process_time() - used)

asyncio.run(main(*sys.argv[1:]))
"""


def peer(settings: Settings) -> tuple[int, float, float]:
    """Records, seconds and CPU seconds of a consumer that only reads."""
    command = [sys.executable, "-c", PEER, settings.bootstrap, settings.topic(METRICS)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(said[0]), float(said[1]), float(said[2])


class Console(Program):
    """A console process that has just been started."""

    def __init__(self, settings: Settings) -> None:
        port = free_port()
        super().__init__(port, "console", "--bootstrap", settings.bootstrap, "--port", str(port))
        self._began = time.monotonic()

    def wait(self, path: str, said: Callable[[bytes], bool], pause: float) -> tuple[float, float]:
        """Seconds since the start until the answer is as wanted, and CPU seconds until then. Raises ProgramEnded."""
        while True:
            time.sleep(pause)
            address = f"http://127.0.0.1:{self.port}{path}"
            with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=60) as answer:
                if said(answer.read()):
                    return time.monotonic() - self._began, self.cpu()
            self.require_running()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--bytes", type=int, help="the most a record may have")
    parser.add_argument("--dead-letters", type=int, default=100_000)
    given = parser.parse_args()
    with Broker() as broker:
        settings = Settings(bootstrap=broker.bootstrap)
        size = asyncio.run(fill(settings, given.records, given.bytes))
        asyncio.run(fill_dead_letters(settings, given.dead_letters))
        read, clock, used = peer(settings)
        assert read == given.records
        console = Console(settings)
        try:
            first, _ = console.wait("/readyz", lambda _: True, 0.05)
            whole, cpu = console.wait("/api/v1/stream", lambda said: msgspec.json.decode(said)["console"]["read"] == 1, 0.5)
            memory = console.resident_mb()
        finally:
            console.stop()
    print(
        f"{given.records:,} records ({size / 2**20:,.0f} MiB): the newest after {first:.1f} s, all after {whole:.1f} s "
        f"({given.records / whole:,.0f}/s; {cpu:.1f} s of CPU), {memory:,.0f} MiB; with {given.dead_letters:,} dead letters\n"
        f"a consumer that only reads the records: {clock:.1f} s ({used:.1f} s of CPU); the console takes {cpu / used:.2f} times"
        " its CPU"
    )


if __name__ == "__main__":
    main()
