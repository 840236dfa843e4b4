"""Resident memory of a worker and its supervisor at rest, and of one worker that holds millions of requests whose labels are
still to come; and the seconds a restart takes: after SIGTERM, after kill -9, and with its local state gone."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import tempfile
import time
from pathlib import Path

from aiokafka import AIOKafkaProducer

from tidegauge.engine.stage import PREDICTIONS
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings
from workload import RECORD, START, Bulk, Worker

BATCH = 1500
EVENTS_A_SECOND = 20_000
LIMIT_MB = 700
REST_SECONDS = 15.0
WORKER_MB, SUPERVISOR_MB = 120, 40


async def fill(settings: Settings, bulk: Bulk) -> None:
    """All of ``bulk`` as predictions, 20,000 a second of event time."""
    async with AIOKafkaProducer(acks=1, max_batch_size=1 << 20, **settings.client()) as producer:
        longest = max(len(ids) for ids in bulk.ids)
        for begin in range(0, longest, BATCH):
            for place, ids in enumerate(bulk.ids):
                if ids[begin : begin + BATCH]:
                    ts = START + begin * len(bulk.ids) / EVENTS_A_SECOND
                    await bulk.send(producer, PREDICTIONS, place, ids[begin : begin + BATCH], ts)
        await producer.flush()


def at_rest(settings: Settings, directory: Path) -> tuple[float, float]:
    """Resident MB of a supervisor and of its one worker, which has a model with a detector and nothing to do."""
    supervisor = Worker(settings, directory / "at-rest", supervised=True)
    try:
        supervisor.wait_until_ready()
        time.sleep(REST_SECONDS)
        (worker,) = supervisor.process.children()
        return supervisor.resident_mb(), float(worker.memory_info().rss / 2**20)
    finally:
        supervisor.stop()


def restart(worker: Worker, how: signal.Signals, state: Path | None = None) -> float:
    """Seconds from starting the process again until it owns its partitions with their state restored; ``state``: the
    directory to lose before."""
    worker.process.send_signal(how)
    worker.process.wait(60)
    if state is not None:
        shutil.rmtree(state)
    began = time.monotonic()
    worker.start()
    worker.wait_until_ready()
    return time.monotonic() - began


def main() -> None:
    """Run and print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--requests", type=int, default=5_000_000, help="pending at once")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768) as broker:
        scratch = Path(name)
        settings = Settings(bootstrap=broker.bootstrap)
        asyncio.run(models_topic.apply(settings, [RECORD]))
        supervisor, rest = at_rest(settings, scratch)
        print(f"at rest: worker {rest:.0f} MB, supervisor {supervisor:.0f} MB")
        print(f"goal: {WORKER_MB} and {SUPERVISOR_MB} MB: "
              + ("reached" if rest < WORKER_MB and supervisor < SUPERVISOR_MB else "missed"), flush=True)  # fmt: skip
        print(f"producing {given.requests:,} predictions without a label ...", flush=True)
        bulk = Bulk(scratch, "open", given.requests, settings.partitions)
        asyncio.run(fill(settings, bulk))
        del bulk
        worker, peak, began = Worker(settings, scratch / "state"), 0.0, time.monotonic()
        try:
            while (pending := worker.metric("tidegauge_pending_requests")) < given.requests:
                worker.require_running()
                if time.monotonic() - began > 900:
                    raise TimeoutError(f"{pending:,.0f} of {given.requests:,} requests are pending")
                peak = max(peak, worker.resident_mb())
                time.sleep(0.25)
            seconds = time.monotonic() - began
            state = worker.metric("tidegauge_state_bytes") / 2**20
            peak = max(peak, worker.resident_mb())
            print(f"{pending:,.0f} pending after {seconds:.0f} s: peak of resident memory {peak:.0f} MB, state {state:,.0f} MB")
            for how, words in ((signal.SIGTERM, "SIGTERM"), (signal.SIGKILL, "kill -9")):
                print(f"ready again after {words}: {restart(worker, how):.1f} s", flush=True)
            alone = restart(worker, signal.SIGKILL, scratch / "state")
            print(f"ready again from the changelog alone: {alone:.1f} s")
            peak = max(peak, worker.resident_mb())
        finally:
            worker.stop()
    print(f"goal: {given.requests:,} pending under {LIMIT_MB} MB: {'reached' if peak < LIMIT_MB else 'missed'} ({peak:.0f} MB)")


if __name__ == "__main__":
    main()
