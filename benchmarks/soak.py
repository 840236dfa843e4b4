"""A soak: workers under a steady load, with rebalances, for as long as is asked. What must not grow (memory, file descriptors,
threads, state on disk, the changelogs' records) is measured all the while and drawn; exit status 1 if anything still grows.

Event time runs SPEED times as fast as the clock, since a request is kept for a day beyond its label horizon: so requests and
windows expire within minutes, and whatever is bounded has reached its bound in a quarter of an hour. Labels come ten seconds by
the clock after their predictions.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import murmur2

from soak_plot import draw
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import JOIN_CHANGELOG, MONITOR_CHANGELOG, Settings
from workload import SPEC, START, Bulk, Worker, request_id

SPEED = 2000.0
HOUR, LABEL_DELAY = 3600.0, 10.0
RECORD = ModelRecord("churn", msgspec.structs.replace(SPEC, windows=("1h",), label_horizon=12 * HOUR, retention=24 * HOUR))
TICK, LOOK_SECONDS, CHANGE_SECONDS = 0.1, 5.0, 60.0
KEPT = {"log.retention.bytes": str(256 << 20), "log.segment.bytes": str(64 << 20), "log.retention.check.interval.ms": "15000"}
"""The broker deletes input but for the newest 256 MiB of a partition, some three minutes: an hour's would fill a disk."""
MORE = 1.25
"""How much more than at half time a series may be at the end."""


class Look(NamedTuple):
    """One measurement, of both workers together but for ``seconds`` since the start and ``lag`` in records."""

    seconds: float
    memory_mb: float
    file_descriptors: float
    threads: float
    state_mb: float
    changelog_records: float
    lag: float


BOUNDED = Look._fields[1:-1]


def load(settings: Settings, scratch: Path, rate: int, partitions: int, ready: threading.Event) -> None:
    """``rate`` events a second until the process is ended: half of them predictions, the others their labels."""
    bulk = Bulk(scratch, "templates", 0, partitions)

    def keys(begin: int, count: int) -> list[list[bytes]]:
        found: list[list[bytes]] = [[] for _ in range(partitions)]
        for number in range(begin, begin + count):
            key = request_id(f"soak{number}").encode()
            found[(murmur2(key) & 0x7FFFFFFF) % partitions].append(key)
        return found

    async def run() -> None:
        async with AIOKafkaProducer(acks=1, max_batch_size=1 << 20, **settings.client()) as producer:
            ready.set()
            began, step, count = time.monotonic(), 0, int(rate * TICK / 2)
            waiting: deque[list[list[bytes]]] = deque()
            while True:
                step, now = step + 1, START + step * TICK * SPEED
                waiting.append(keys(step * count, count))
                due = waiting.popleft() if len(waiting) > LABEL_DELAY / TICK else []
                for topic, groups in ((PREDICTIONS, waiting[-1]), (LABELS, due)):
                    for place, group in enumerate(groups):
                        await bulk.send(producer, topic, place, group, now)
                await asyncio.sleep(max(0.0, began + step * TICK - time.monotonic()))

    asyncio.run(run())


async def changelog_records(settings: Settings) -> int:
    """What all changelogs hold, as a restore would read it."""
    reader = consumer(settings)
    await reader.start()
    try:
        places = [
            TopicPartition(settings.topic(topic), number)
            for topic in (JOIN_CHANGELOG, MONITOR_CHANGELOG)
            for number in range(settings.partitions)
        ]
        begins, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
    finally:
        await reader.stop()
    return sum(ends[place] - begins[place] for place in places)


def look(settings: Settings, workers: Sequence[Worker], states: Iterable[Path], began: float) -> Look:
    """Measure now."""
    size = 0
    for file in (file for state in states for file in state.rglob("*")):
        # RocksDB deletes files meanwhile.
        size += file.stat().st_size if file.exists() and file.is_file() else 0
    return Look(
        time.monotonic() - began,
        sum(worker.resident_mb() for worker in workers),
        sum(worker.process.num_fds() for worker in workers),
        sum(worker.process.num_threads() for worker in workers),
        size / 2**20,
        asyncio.run(changelog_records(settings)),
        sum(worker.metric("tidegauge_consumer_lag") for worker in workers),
    )


def soak(settings: Settings, scratch: Path, minutes: float) -> list[Look]:
    """Two workers, of which one is killed now and then, and a third that comes and goes."""
    states = [scratch / f"state-{index}" for index in range(3)]
    workers = [Worker(settings, state) for state in states[:2]]
    for worker in workers:
        worker.wait_until_ready()
    began, changes, looks = time.monotonic(), 0, list[Look]()
    third: Worker | None = None
    while (passed := time.monotonic() - began) < minutes * 60:
        if passed >= (changes + 1) * CHANGE_SECONDS:
            changes += 1
            if third is not None:
                third.stop()
                third = None
            elif changes % 4 == 1:
                third = Worker(settings, states[2])
            else:
                workers[1].process.kill()
                workers[1].process.wait()
                workers[1].start()
                workers[1].wait_until_ready()
        for worker in (*workers, *([third] if third else [])):
            worker.require_running()
        looks.append(look(settings, workers, states[:2], began))
        time.sleep(LOOK_SECONDS)
    for worker in (*workers, *([third] if third else [])):
        worker.stop()
    return looks


def growth(looks: Sequence[Look], name: str) -> float:
    """The median of the last fifth as a multiple of that of the fifth around half time.

    >>> growth([Look(t, 100 + t, 7, 7, 7, 7, 7) for t in range(100)], "memory_mb") > 1.2
    True
    >>> growth([Look(t, 100, 7, 7, 7, 7, 7) for t in range(100)], "memory_mb")
    1.0
    """
    values = [getattr(look, name) for look in looks]
    fifth = len(values) // 5
    return statistics.median(values[-fifth:]) / max(statistics.median(values[2 * fifth : 3 * fifth]), 1.0)


def main() -> None:
    """Run, print the figures, draw them."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--minutes", type=float, default=60.0)
    options.add_argument(
        "--rate",
        type=int,
        default=25_000,
        help="events a second: half of what workers, broker and sender together can on two cores",
    )
    options.add_argument("--plot", type=Path, help="SVG file to write")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768, properties=KEPT) as broker:
        settings, scratch = Settings(bootstrap=broker.bootstrap), Path(name)
        asyncio.run(models_topic.apply(settings, [RECORD]))
        ready = multiprocessing.Event()
        sender = multiprocessing.Process(
            target=load, args=(settings, scratch, given.rate, settings.partitions, ready), daemon=True
        )
        sender.start()
        ready.wait(60)
        looks = soak(settings, scratch, given.minutes)
        sender.terminate()
    grown = {name: growth(looks, name) for name in BOUNDED}
    print(f"{given.minutes:.0f} minutes at {given.rate:,} events a second, {len(looks)} looks")
    print("| | at half time | at the end | greatest | × |\n|---|---|---|---|---|")
    fifth = len(looks) // 5
    for name in (*BOUNDED, "lag"):
        values = [getattr(look, name) for look in looks]
        middle, end = statistics.median(values[2 * fifth : 3 * fifth]), statistics.median(values[-fifth:])
        print(f"| {name.replace('_', ' ')} | {middle:,.0f} | {end:,.0f} | {max(values):,.0f} | {growth(looks, name):.2f} |")
    if given.plot:
        given.plot.write_text(
            draw([look.seconds / 60 for look in looks], {n: [getattr(k, n) for k in looks] for n in Look._fields[1:]})
        )
    growing = [name for name, times in grown.items() if times > MORE]
    if growing:
        raise SystemExit(f"still growing: {', '.join(growing)}")


if __name__ == "__main__":
    main()
