"""Seconds from producing the first bad event to reading its alert, p50 and p95 over many incidents, while one worker with
everything on carries half the load it should be able to carry.

An incident is a model of its own: 500 healthy requests a second for four seconds, then bad ones until the alert is read:
half of the requests fail (error ratio), half of a feature is missing (missing ratio), or most answers are wrong (ADWIN on the
errors). Waiting for `min_count` and for the detector's evidence is part of the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
from aiokafka import AIOKafkaProducer

from tidegauge.client import Client
from tidegauge.engine.stage import ALERTS, LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import Condition, DetectorSpec, ModelSpec, MonitorSpec
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.reading import records
from tidegauge.stream.settings import Settings
from workload import RECORD, Bulk, Worker

KINDS = {"error_ratio": "system.error_ratio", "missing": "data.features.x.missing_ratio", "adwin": "error"}
RATE, HEALTHY_SECONDS, TICK, GIVE_UP = 500, 4.0, 0.05, 30.0
SETTLE_SECONDS = 8.0


def watched(model: str, kind: str) -> ModelRecord:
    """The spec of an incident's model: one monitor or one detector."""
    monitors = () if kind == "adwin" else (MonitorSpec(kind, KINDS[kind], "1m", Condition("above", high=0.05)),)
    detectors = (DetectorSpec(kind, "error", "adwin"),) if kind == "adwin" else ()
    return ModelRecord(model, ModelSpec(model, task="binary", windows=("1m",), monitors=monitors, detectors=detectors))


def load(settings: Settings, scratch: Path, rate: int, seconds: float, partitions: int, ready: Any) -> None:
    """The background: ``rate`` events a second (predictions and their labels) at their own time, batches built by hand so
    that the generator costs little beside the worker."""
    bulk = Bulk(scratch, "load", int(rate * seconds / 2), partitions)

    async def run() -> None:
        async with AIOKafkaProducer(acks=1, max_batch_size=1 << 20, **settings.client()) as producer:
            ready.set()
            began, step, share = time.monotonic(), 0, rate * TICK / 2 / partitions
            done = [0] * partitions
            while time.monotonic() - began < seconds:
                step, now = step + 1, time.time()
                for place, ids in enumerate(bulk.ids):
                    until = min(int(step * share), len(ids))
                    keys, done[place] = ids[done[place] : until], until
                    for topic in (PREDICTIONS, LABELS):
                        await bulk.send(producer, topic, place, keys, now)
                await asyncio.sleep(max(0.0, began + step * TICK - time.monotonic()))

    asyncio.run(run())


async def incident(client: Client, name: str, kind: str, fired: asyncio.Event) -> float:
    """Healthy traffic, then bad until ``fired``; when the first bad event was handed to the producer."""
    rng = np.random.default_rng(abs(hash(name)) % 2**32)
    number, began, first_bad = 0, time.monotonic(), 0.0
    while not fired.is_set() and time.monotonic() - began < HEALTHY_SECONDS + GIVE_UP:
        bad = time.monotonic() - began >= HEALTHY_SECONDS
        ts = time.time()
        for _ in range(int(RATE * TICK)):
            number += 1
            request, truth = f"{name}-{number}", int(rng.random() < 0.5)
            wrong = rng.random() < (0.6 if bad and kind == "adwin" else 0.05)
            hit = bad and rng.random() < 0.5
            event = {
                "request_id": request, "ts": ts, "model": name, "model_version": f"{name}:1", "score": float(rng.random()),
                "features": {"x": None if hit and kind == "missing" else float(rng.normal())}, "latency_ms": 5.0,
            }  # fmt: skip
            event |= {"error": "timeout"} if hit and kind == "error_ratio" else {"prediction": truth ^ wrong}
            if bad and not first_bad:
                first_bad = time.monotonic()
            await client.send(PREDICTIONS, request.encode(), orjson.dumps(event))
            if kind == "adwin":
                await client.label(request_id=request, ts=ts, label=truth)
        await asyncio.sleep(max(0.0, ts + TICK - time.time()))
    return first_bad


async def measure(settings: Settings, each: int) -> dict[str, list[float]]:
    """Seconds of each incident by kind; infinity for one without an alert."""
    names = [(f"{kind}-{i}", kind) for i in range(each) for kind in KINDS]
    fired: dict[str, asyncio.Event] = {name: asyncio.Event() for name, _ in names}
    read: dict[str, float] = {}

    async def follow() -> None:
        async for record in records(settings, ALERTS, follow=True):
            alert = msgspec.json.decode(record.value)["data"]
            model = alert["labels"]["model"]
            if alert["status"] == "firing" and model in fired and model not in read:
                read[model] = time.monotonic()
                fired[model].set()

    follower = asyncio.create_task(follow())
    out: dict[str, list[float]] = defaultdict(list)
    async with Client(**settings.client()) as client:
        running = []
        for name, kind in names:
            running.append(asyncio.create_task(incident(client, name, kind, fired[name])))
            await asyncio.sleep(0.7)
        for (name, kind), first_bad in zip(names, await asyncio.gather(*running), strict=True):
            out[kind].append(read[name] - first_bad if name in read and first_bad else float("inf"))
    follower.cancel()
    return out


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--incidents", type=int, default=20, help="of each of the three kinds")
    options.add_argument("--load", type=int, default=50_000, help="events a second beside them: half a worker's capacity")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768) as broker:
        scratch = Path(name)
        settings = Settings(bootstrap=broker.bootstrap)
        specs = [watched(f"{kind}-{i}", kind) for kind in KINDS for i in range(given.incidents)]
        asyncio.run(models_topic.apply(settings, [RECORD, *specs]))
        worker = Worker(settings, scratch / "state")
        worker.wait_until_ready()
        seconds = given.incidents * 3 * 0.7 + HEALTHY_SECONDS + SETTLE_SECONDS + 10
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        generator = context.Process(
            target=load, args=(settings, scratch, given.load, seconds, settings.partitions, ready), daemon=True
        )
        generator.start()
        try:
            ready.wait()
            time.sleep(SETTLE_SECONDS)
            before, began, cpu = worker.metric("tidegauge_events_total"), time.monotonic(), worker.cpu()
            found = asyncio.run(measure(settings, given.incidents))
            clock = time.monotonic() - began
            events, used = worker.metric("tidegauge_events_total") - before, worker.cpu() - cpu
        finally:
            worker.stop()
            generator.terminate()
    print(f"background and incidents: {events / clock:,.0f} events/s through one worker, {used / clock:.0%} of a core")
    print(f"{'alert latency, s':20} {'incidents':>9} {'p50':>6} {'p95':>6} {'max':>6}")
    everything = [value for values in found.values() for value in values]
    for label, values in (*found.items(), ("all", everything)):
        print(
            f"{label:20} {len(values):9} {np.percentile(values, 50, method='higher'):6.2f} "
            f"{np.percentile(values, 95, method='higher'):6.2f} {max(values):6.2f}"
        )
    print(f"goal: p95 under 3 s: {'reached' if np.percentile(everything, 95, method='higher') < 3 else 'missed'}")


if __name__ == "__main__":
    main()
