"""What an idle deployment costs, and how long it takes to start, by the number of partitions: one worker, one broker."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import psutil

from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings
from workload import RECORD, Worker

SETTLE_SECONDS = 15.0
START_LIMIT = 10.0


def cpu(process: psutil.Process) -> float:
    """CPU seconds it has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(partitions: int, seconds: float) -> tuple[float, float, float]:
    """Seconds until the worker is ready on topics that exist, and the shares of a core that worker and broker take idle."""
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768) as broker:
        settings = Settings(bootstrap=broker.bootstrap, partitions=partitions)
        asyncio.run(models_topic.apply(settings, [RECORD]))
        worker, began = Worker(settings, Path(name) / "state", "--partitions", str(partitions)), time.monotonic()
        try:
            worker.wait_until_ready()
            started = time.monotonic() - began
            time.sleep(SETTLE_SECONDS)
            processes = [psutil.Process(worker.process.pid), psutil.Process(broker.pid)]
            before = [cpu(process) for process in processes]
            time.sleep(seconds)
            shares = [(cpu(process) - used) / seconds for process, used in zip(processes, before, strict=True)]
        finally:
            worker.stop()
    return started, shares[0], shares[1]


def main() -> None:
    """Run and print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--partitions", type=int, nargs="*", default=[4, 48])
    options.add_argument("--seconds", type=float, default=30.0, help="of idleness that are measured")
    given = options.parse_args()
    slowest = 0.0
    for partitions in given.partitions:
        started, worker, broker = measure(partitions, given.seconds)
        slowest = max(slowest, started)
        print(
            f"{partitions} partitions: ready after {started:.1f} s, idle {worker:.1%} of a core in the worker, "
            f"{broker:.1%} in the broker",
            flush=True,
        )
    print(f"goal: ready within {START_LIMIT:.0f} s: {'reached' if slowest <= START_LIMIT else 'missed'}")


if __name__ == "__main__":
    main()
