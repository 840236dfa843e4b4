"""Events a second, by the clock and per CPU second: one worker with everything on, `replay`, and a naive stock-Faust program
on the same broker and events in the same run. Ratios are what counts; the machine may be noisy."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import Settings
from workload import RECORD, Worker, run_fill, write

Result = tuple[int, float, float]
"""Events, seconds by the clock, CPU seconds."""


def naive(settings: Settings, scratch: Path, target: int) -> Result:
    """Stock Faust until it has read ``target`` events."""
    result = scratch / "naive.txt"
    environment = os.environ | {
        "BOOTSTRAP": settings.bootstrap, "TARGET": str(target), "RESULT": str(result), "DATADIR": str(scratch / "faust"),
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("naive_faust.py")), "worker", "-l", "error", "--without-web"]
    subprocess.run(command, env=environment, check=False, timeout=900, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    read, seconds, cpu, joined = result.read_text().split()
    print(f"stock Faust had joined {int(joined):,} labels", flush=True)
    return int(read), float(seconds), float(cpu)


def live(settings: Settings, scratch: Path, count: int) -> Result:
    """One worker from its first record until every label is joined; start-up is not counted."""
    worker = Worker(settings, scratch / "state")
    try:
        worker.wait_for("tidegauge_events_total", 1, 0.02)
        began, cpu, first = time.monotonic(), worker.cpu(), worker.metric("tidegauge_events_total")
        worker.wait_for("tidegauge_joined_total", count, 3.0)
        return int(2 * count - first), time.monotonic() - began, worker.cpu() - cpu
    finally:
        worker.stop()


def replayed(scratch: Path, predictions: Path, labels: Path, count: int) -> Result:
    """`tidegauge replay` of the same files, start-up included."""
    directory = scratch / "models"
    directory.mkdir()
    (directory / "churn.yaml").write_text(
        "model: churn\ntask: binary\nsegments: [region, device]\nwindows: [1m]\ngrace: 5s\n"
        "detectors: [{name: error-shift, stream: error, algorithm: adwin}]\n"
    )
    command = [
        sys.executable, "-m", "tidegauge", "replay", "--models", str(directory), "--predictions", str(predictions),
        "--labels", str(labels), "--output", str(scratch / "out"),
    ]  # fmt: skip
    began = time.monotonic()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    cpu = 0.0
    while process.poll() is None:
        try:
            times = process.cpu_times()
            cpu = times.user + times.system
        except psutil.Error:
            break
        time.sleep(0.02)
    return 2 * count, time.monotonic() - began, cpu


def main() -> None:
    """Run and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--events", type=int, default=1_000_000, help="predictions, and as many labels")
    options.add_argument("--naive-events", type=int, default=200_000, help="events the naive program reads")
    given = options.parse_args()
    assert RECORD.spec.detectors
    with tempfile.TemporaryDirectory() as name, Broker(heap_mb=768) as broker:
        scratch = Path(name)
        settings = Settings(bootstrap=broker.bootstrap)
        print(f"making and producing {given.events:,} predictions and labels ...", flush=True)
        predictions, labels = write(scratch, given.events)
        run_fill(settings, predictions, labels)
        results = {"stock Faust, naive": naive(settings, scratch, given.naive_events)}
        results["tidegauge worker"] = live(settings, scratch, given.events)
        results["tidegauge replay"] = replayed(scratch, predictions, labels, given.events)
    _, seconds, cpu = results["stock Faust, naive"]
    events = results["stock Faust, naive"][0]
    print(f"{'':20} {'events':>10} {'events/s':>10} {'per CPU s':>10} {'µs CPU':>7} {'clock ×':>8} {'CPU ×':>7}")
    for label, (n, clock, used) in results.items():
        print(
            f"{label:20} {n:10,} {n / clock:10,.0f} {n / used:10,.0f} {used / n * 1e6:7.1f} "
            f"{n / clock / (events / seconds):8.1f} {n / used / (events / cpu):7.1f}"
        )
    n, clock, used = results["tidegauge worker"]
    print(f"goals: 100,000 events/s by the clock: {'reached' if n / clock >= 1e5 else 'missed'}; "
          f"10 × stock Faust per CPU second: {'reached' if n / used >= 10 * events / cpu else 'missed'}")  # fmt: skip


if __name__ == "__main__":
    main()
