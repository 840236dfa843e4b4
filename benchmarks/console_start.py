"""How long the console takes to start over a topic of many metrics records, and the memory it then has.

    python benchmarks/console_start.py --records 1000000

Fills the topic `metrics` of a real Kafka with records as the stages write them (those of a small stream, under many model
names), starts `tidegauge console` and waits until /readyz says that all have been read.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from tidegauge.broker import Broker, free_port
from tidegauge.stage import METRICS
from tidegauge.stream import models
from tidegauge.stream.settings import Settings

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("tests", "tests/console")]


def samples() -> list[tuple[list[object], bytes]]:
    """Keys and values of the records of a small stream, every revision."""
    from serving import outputs

    return [(msgspec.json.decode(o.key), o.value) for o in outputs() if o.topic == METRICS and o.key and o.value]


async def fill(settings: Settings, count: int) -> int:
    """Write the records; their bytes."""
    await models.ensure_topics(settings)
    taken = samples()
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


def start(settings: Settings) -> tuple[float, float, float]:
    """Seconds until it is ready, CPU seconds until then, and its memory in MiB."""
    port = free_port()
    command = [sys.executable, "-m", "tidegauge", "console", "--bootstrap", settings.bootstrap, "--port", str(port)]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            time.sleep(0.1)
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=30).read()
                break
            except (urllib.error.URLError, ConnectionError):
                if process.poll() is not None:
                    raise
        seconds = time.monotonic() - began
        used = psutil.Process(process.pid)
        return seconds, sum(used.cpu_times()[:2]), used.memory_info().rss / 2**20
    finally:
        process.terminate()
        process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    count = parser.parse_args().records
    with Broker() as broker:
        settings = Settings(bootstrap=broker.bootstrap)
        size = asyncio.run(fill(settings, count))
        seconds, cpu, memory = start(settings)
    print(
        f"{count:,} records ({size / 2**20:,.0f} MiB) read in {seconds:.1f} s ({count / seconds:,.0f}/s, {cpu:.1f} s of CPU), "
        f"{memory:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
