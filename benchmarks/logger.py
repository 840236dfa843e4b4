"""What ``Logger.prediction()`` takes of the thread of a request, with 20 features: Kafka there, slow (it hangs for half of each
second) and away; flat out, and at a pace of a service, beside a function that does nothing. And the memory held while Kafka is
away, with a spool and without."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from confluent_kafka.admin import AdminClient, NewTopic

from tidegauge.stream.broker import Broker
from tidegauge_logger import Logger

AIM_P50, AIM_P99 = 15.0, 100.0
"""Microseconds."""


def features(rng: random.Random) -> dict[str, object]:
    numbers: dict[str, object] = {f"amount_{number}": rng.gauss(0, 100) for number in range(15)}
    return numbers | {f"kind_{number}": rng.choice(["basic", "plus", "business"]) for number in range(5)}


class Cost(NamedTuple):
    """Microseconds of a call. ``empty``: the median of a function that takes the same arguments and does nothing; ``processor``
    and ``others``: what the caller's and the other threads spend of the processor for an event, which says the same on a busy
    machine."""

    empty: float
    p50: float
    p99: float
    largest: float
    processor: float
    others: float


def nothing(**given: object) -> None:
    pass


def measure(log: Logger, count: int, pause: float) -> Cost:
    """Before each call a request's body becomes its features, as in a service."""
    rng = random.Random(1)
    bodies = [json.dumps(features(rng)) for _ in range(100)]
    times: dict[Callable[..., Any], list[int]] = {nothing: [], log.prediction: []}
    gc.collect()
    own, others = 0, time.process_time() - time.thread_time()
    for number in range(count):
        for call, took in times.items():
            one = json.loads(bodies[number % 100])
            spent, began = time.thread_time_ns(), time.perf_counter_ns()
            call(features=one, prediction=1, score=0.83, segments={"region": "eu"}, latency_ms=12.4)
            took.append(time.perf_counter_ns() - began)
            if call is not nothing:
                own += time.thread_time_ns() - spent
            if pause:
                time.sleep(pause / 2)
    log.flush(10)
    others = time.process_time() - time.thread_time() - others
    empty, took = (sorted(took) for took in times.values())
    return Cost(
        empty[count // 2] / 1e3, took[count // 2] / 1e3, took[count * 99 // 100] / 1e3, took[-1] / 1e3, own / count / 1e3,
        others / count * 1e6,
    )  # fmt: skip


@contextlib.contextmanager
def slow(broker: Broker) -> Iterator[None]:
    """The broker stands still for every other quarter of a second."""
    done = threading.Event()
    pid = broker.pid
    assert pid is not None

    def hang() -> None:
        while not done.wait(0.25):
            os.kill(pid, signal.SIGSTOP)
            done.wait(0.25)
            os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=hang)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        os.kill(pid, signal.SIGCONT)


def memory(spool: Path | None, megabytes: int) -> tuple[float, float, int]:
    """Resident MB that 400 MB of events add while Kafka is away, MB of the spool, and events dropped."""
    log = Logger("127.0.0.1:1", model_version="churn:3", spool=spool, max_buffer_bytes=megabytes << 20)
    log.prediction(score=0.5)
    time.sleep(1)
    before = psutil.Process().memory_info().rss
    one = features(random.Random(1))
    most = before
    for number in range(500_000):
        log.prediction(features=one, prediction=1, score=0.83)
        if number % 5000 == 0:
            most = max(most, psutil.Process().memory_info().rss)
            time.sleep(0.02)
    disk = sum(path.stat().st_size for path in spool.iterdir()) if spool else 0
    dropped = log.dropped
    log.close(0)
    return (most - before) / 1e6, disk / 1e6, dropped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=5, help="of which each figure is the median")
    options = parser.parse_args()
    heads = f"{'empty':>9}{'p50':>9}{'p99':>9}{'largest':>10}{'processor':>11}{'other threads':>15}"
    print(f"{'Kafka':<8}{'spool':<8}{'pace':<10}{heads}   microseconds; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as directory, Broker(Path(directory) / "kafka") as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        made = admin.create_topics([NewTopic("predictions", 4, 1)])
        made["predictions"].result()
        del admin
        for kafka in ("there", "slow", "away"):
            if kafka == "away":
                broker.stop()
            with slow(broker) if kafka == "slow" else contextlib.nullcontext():
                for spool in (True, False):
                    for pace, pause in (("1000/s", 0.001), ("flat out", 0.0)):
                        kept = Path(directory) / f"{kafka}-{pause}" if spool else None
                        log = Logger(broker.bootstrap, model_version="churn:3", spool=kept)
                        measure(log, 500, 0.001)
                        runs = [measure(log, options.count, pause) for _ in range(options.runs)]
                        log.close(0)
                        cost = Cost(*map(statistics.median, zip(*runs, strict=True)))
                        missed = "" if cost.p50 < AIM_P50 and cost.p99 < AIM_P99 else f"   aim: {AIM_P50:.0f} and {AIM_P99:.0f}"
                        figures = f"{cost.empty:>9.1f}{cost.p50:>9.1f}{cost.p99:>9.1f}{cost.largest:>10.0f}"
                        processor = f"{cost.processor:>11.1f}{cost.others:>15.1f}"
                        print(f"{kafka:<8}{'yes' if spool else 'no':<8}{pace:<10}{figures}{processor}{missed}", flush=True)
        for spooled in (True, False):
            added, disk, dropped = memory(Path(directory) / "memory" if spooled else None, 64)
            where = f"spool of {disk:.0f} MB" if spooled else "no spool"
            print(f"500,000 events while Kafka is away, 64 MiB allowed, {where}: {added:.0f} MB of memory, {dropped} dropped")


if __name__ == "__main__":
    main()
