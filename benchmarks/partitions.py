"""What an idle deployment costs, and how long it takes to start, by the number of partitions: one worker, one broker."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

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


class Cost(NamedTuple):
    """``ready``: seconds until the worker is ready on topics that exist; CPU seconds of worker and broker until then; and the
    shares of a core that both take idle."""

    ready: float
    starting: tuple[float, float]
    idle: tuple[float, float]


def measure(partitions: int, seconds: float) -> Cost:
    """What one worker on so many partitions costs, idle for so many seconds."""
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768) as broker:
        settings = Settings(bootstrap=broker.bootstrap, partitions=partitions)
        asyncio.run(models_topic.apply(settings, [RECORD]))
        node = psutil.Process(broker.pid)
        before = cpu(node)
        worker, began = Worker(settings, Path(name) / "state", "--partitions", str(partitions)), time.monotonic()
        try:
            worker.wait_until_ready()
            ready, starting = time.monotonic() - began, (worker.cpu(), cpu(node) - before)
            time.sleep(SETTLE_SECONDS)
            used = worker.cpu(), cpu(node)
            time.sleep(seconds)
            idle = (worker.cpu() - used[0]) / seconds, (cpu(node) - used[1]) / seconds
        finally:
            worker.stop()
    return Cost(ready, starting, idle)


def main() -> None:
    """Run and print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--partitions", type=int, nargs="*", default=[4, 48])
    options.add_argument("--seconds", type=float, default=30.0, help="of idleness that are measured")
    given = options.parse_args()
    slowest = 0.0
    for partitions in given.partitions:
        cost = measure(partitions, given.seconds)
        slowest = max(slowest, cost.ready)
        print(
            f"{partitions} partitions: ready after {cost.ready:.1f} s with {cost.starting[0]:.1f} s of CPU in the worker and "
            f"{cost.starting[1]:.1f} in the broker; idle {cost.idle[0]:.1%} of a core in the worker, {cost.idle[1]:.1%} in the "
            "broker",
            flush=True,
        )
    print(f"goal: ready within {START_LIMIT:.0f} s: {'reached' if slowest <= START_LIMIT else 'missed'}")


if __name__ == "__main__":
    main()
