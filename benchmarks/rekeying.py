"""What re-keying costs: one worker joins the same events as they are and re-keyed, on the same broker in the same run. Ratios
are what counts; start-up is not counted."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings
from workload import Worker, run_fill, write


class Cost(NamedTuple):
    """Seconds by the clock, and CPU seconds of the worker and of the broker."""

    clock: float
    worker: float
    broker: float


def cpu(process: psutil.Process) -> float:
    """CPU seconds it has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(broker: Broker, state: Path, rekey: str, count: int) -> Cost:
    """One worker of its own group, from when it is ready until every label is joined."""
    settings = Settings(bootstrap=broker.bootstrap, app_id=f"rekey-{rekey}")
    worker = Worker(settings, state / rekey, "--rekey", rekey)
    try:
        worker.wait_until_ready(0.02)
        began, processes = time.monotonic(), [psutil.Process(worker.process.pid), psutil.Process(broker.pid)]
        before = [cpu(process) for process in processes]
        worker.wait_for("tidegauge_joined_total", count, 3.0)
        used = [cpu(process) - earlier for process, earlier in zip(processes, before, strict=True)]
        return Cost(time.monotonic() - began, *used)
    finally:
        worker.stop()


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=500_000, help="predictions, and as many labels")
    given = options.parse_args()
    events = 2 * given.events
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768) as broker:
        scratch = Path(name)
        predictions, labels = write(scratch, given.events)
        run_fill(Settings(bootstrap=broker.bootstrap), predictions, labels)
        plain, rekeyed = (measure(broker, scratch, rekey, given.events) for rekey in ("never", "always"))
    print(f"{'':14} {'events/s':>10} {'µs CPU an event':>16} {'the broker’s':>13}")
    for label, of in (("as they are", plain), ("re-keyed", rekeyed)):
        print(f"{label:14} {events / of.clock:10,.0f} {of.worker / events * 1e6:16.1f} {of.broker / events * 1e6:13.1f}")
    ratios = [after / before for after, before in zip(rekeyed, plain, strict=True)]
    print(f"re-keying costs {ratios[0]:.2f} × the clock, {ratios[1]:.2f} × the worker's CPU, {ratios[2]:.2f} × the broker's")


if __name__ == "__main__":
    main()
