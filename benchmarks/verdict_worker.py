"""The late-labels and the wide workload of ``verdict_cost.py`` through Kafka: how long after the last event was produced every
closed window's newest records hold all labels, what CPU the worker takes beside both stages alone in the same run, and the
most memory that is resident in it."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer

from tidegauge.client import Client, EventToSend, produce
from tidegauge.engine.stage import LABELS, METRICS, PREDICTIONS
from tidegauge.metrics.record import iso
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import ModelSpec
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings
from verdict_cost import HOUR, WORKLOADS, play
from workload import Worker

GOALS = {"late labels": ("right within", 30, "s"), "wide and segmented": ("resident below", 600, "MB")}
MOST_SECONDS = 550.0


class Newest(msgspec.Struct):
    """What is looked at of a metrics record."""

    window: str
    window_end: str
    labels: int
    segment: dict[str, str]


class Run(NamedTuple):
    """Seconds of producing, seconds from the last event until the records were right, CPU seconds and the most MB of the
    worker."""

    produced: float
    right: float
    cpu: float
    memory: float


def in_order(directory: Path) -> Iterator[EventToSend]:
    """The lines of both files by their ``ts``, as they would come live."""
    streams = []
    for topic in (PREDICTIONS, LABELS):
        lines = (directory / f"{topic}.jsonl").read_bytes().splitlines()
        streams.append([(orjson.loads(line)["ts"], topic, line) for line in lines])
    for _, topic, line in heapq.merge(*streams):
        yield EventToSend(topic, line)


def expected(directory: Path) -> tuple[int, str]:
    """How many of the requests in hourly windows that close have a label, and the end of the last of these windows."""
    ts = {of["request_id"]: of["ts"] for of in map(orjson.loads, (directory / "predictions.jsonl").read_bytes().splitlines())}
    labelled = {orjson.loads(line)["request_id"] for line in (directory / "labels.jsonl").read_bytes().splitlines()}
    last = max(ts.values()) // HOUR * HOUR
    return sum(ts[of] < last for of in labelled), iso(last)


def peak_mb(pid: int) -> float:
    """The most memory that was resident in a process."""
    (line,) = (of for of in Path(f"/proc/{pid}/status").read_text().splitlines() if of.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def until_right(settings: Settings, spec: ModelSpec, labels: int, last: str, worker: Worker) -> float:
    """Reads the metrics; the moment from which on the newest hourly records of the whole model, and of each breakdown's
    segments, hold so many labels."""
    held: dict[bytes, int] = {}
    sums = dict.fromkeys([(), *spec.segments], 0)
    decode = msgspec.json.Decoder(Newest).decode
    consumer = AIOKafkaConsumer(settings.topic(METRICS), auto_offset_reset="earliest", **settings.client())
    began = time.monotonic()
    async with consumer:
        while any(of != labels for of in sums.values()):
            worker.require_running()
            if time.monotonic() - began > MOST_SECONDS:
                raise TimeoutError(f"of {labels:,} labels the records hold {sums}")
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                for message in batch:
                    record = decode(message.value)
                    if record.window == "1h" and record.window_end <= last:
                        of = tuple(record.segment)
                        sums[of] += record.labels - held.get(message.key, 0)
                        held[message.key] = record.labels
    return time.monotonic()


async def live(settings: Settings, spec: ModelSpec, directory: Path, worker: Worker) -> tuple[float, float]:
    """Produce into a worker; seconds of producing and of waiting."""
    labels, last = await asyncio.to_thread(expected, directory)
    lines = await asyncio.to_thread(lambda: list(in_order(directory)))
    reading = asyncio.create_task(until_right(settings, spec, labels, last, worker))
    began = time.monotonic()
    async with Client(**settings.client()) as client:
        await produce(client, iter(lines))
    ended = time.monotonic()
    return ended - began, await reading - ended


def through_kafka(name: str, spec: ModelSpec, directory: Path) -> Run:
    with tempfile.TemporaryDirectory() as state, Broker(heap_mb=768) as broker:
        settings = Settings(bootstrap=broker.bootstrap, app_id=f"verdicts-{name.split()[0]}")
        asyncio.run(models_topic.apply(settings, [ModelRecord(spec.model, spec)]))
        worker = Worker(settings, Path(state))
        try:
            worker.wait_until_ready()
            produced, right = asyncio.run(live(settings, spec, directory, worker))
            return Run(produced, right, worker.cpu(), peak_mb(worker.process.pid))
        finally:
            worker.stop()


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--scale", type=float, default=1.0, help="share of the hours")
    options.add_argument("--only", nargs="*", choices=list(GOALS), default=list(GOALS))
    given = options.parse_args()
    context = multiprocessing.get_context("spawn")
    for name in given.only:
        with tempfile.TemporaryDirectory() as directory:
            with context.Pool(1) as pool:
                (spec,) = pool.apply(WORKLOADS[name], (Path(directory), given.scale))
            with context.Pool(1) as pool:
                alone = pool.apply(play, (Path(directory), [spec]))
            run = through_kafka(name, spec, Path(directory))
        print(
            f"{name}: {alone.events:,} events produced in {run.produced:.0f} s, every record right {run.right:.0f} s later; "
            f"worker {run.cpu:.0f} s of CPU ({run.cpu / alone.cpu:.2f} × both stages alone), at most {run.memory:.0f} MB"
        )
        words, most, unit = GOALS[name]
        measured = run.right if unit == "s" else run.memory
        print(f"goal: {words} {most} {unit}: {'reached' if measured <= most else 'missed'}", flush=True)


if __name__ == "__main__":
    main()
