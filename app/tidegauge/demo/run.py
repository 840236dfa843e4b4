"""Runs `tidegauge demo`: starts broker and workers, replays April to December 2013 in about a minute, and shows what was
found."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from tidegauge.alert.life_cycle import line
from tidegauge.baseline import baseline
from tidegauge.client import Client, key_of
from tidegauge.demo import console_process, dataset, findings
from tidegauge.engine.stage import ALERTS, METRICS
from tidegauge.errors import TidegaugeError
from tidegauge.metrics.record import iso
from tidegauge.models.directory import records_of
from tidegauge.stream import logs, models_topic
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.ending import Ending
from tidegauge.stream.processes import die_with_parent, end
from tidegauge.stream.reading import records
from tidegauge.stream.settings import Settings

DEFAULT_SECONDS = 60.0
"""The length of the replay unless a speed is given."""
QUIET_SECONDS = 3.0
PARTITIONS = 2
END_SECONDS = 18.0
"""The most seconds from the request to end to the end of the process, with which all child processes end."""
SETTLE_SECONDS = 240.0
"""How long the demo waits for the workers to catch up on a slow machine."""
BASELINE = "flight_delays-1.baseline.json"


def demo(days: int, speed: float | None, workers: int, output: Path, keep_console: bool) -> int:
    """Run the demo, and stop everything that it starts; return the exit status. ``keep_console``: whether the console stays
    available after the run, until Ctrl-C."""
    began = time.monotonic()
    logs.set_up_for_people()
    cache = Path(os.environ.get("TIDEGAUGE_CACHE") or Path.home() / ".cache" / "tidegauge")
    data = dataset.prepare(cache, lambda text: print(f"  {text}", flush=True))
    output.mkdir(parents=True, exist_ok=True)
    directory = _models(data, cache)
    with tempfile.TemporaryDirectory(prefix="tidegauge-demo-") as scratch, Broker() as broker:
        signal.signal(signal.SIGTERM, partial(_interrupt, Ending(END_SECONDS)))
        print(f"Kafka {broker.bootstrap}, up {time.monotonic() - began:.1f} s after the start", flush=True)
        settings = Settings(bootstrap=broker.bootstrap, partitions=PARTITIONS)
        asyncio.run(_apply(settings, directory))
        ports = _free_ports(workers)
        with _workers(settings, workers, ports, Path(scratch), output), console_process.console(settings, output) as address:
            _wait_ready(ports)
            print(f"{workers} workers ready after {time.monotonic() - began:.1f} s: "
                  + ", ".join(f"http://127.0.0.1:{port}/metrics" for port in ports), flush=True)  # fmt: skip
            print(f"console at {address}", flush=True)
            events = data.stream(days)
            rate = speed or days * dataset.DAY / DEFAULT_SECONDS
            print(
                f"{len(events)} events of {days} days from {iso(events[0].time)} at {rate / 86400:.1f} days a second",
                flush=True,
            )
            alerts = asyncio.run(DemoRun(settings, events, rate, ports, output).run())
            print(findings.table(alerts, events[0].time, events[-1].time))
            with (output / "metrics.jsonl").open("rb") as published:
                print(findings.fixed_rules(map(msgspec.json.decode, published), _baseline_metrics(directory)))
            print(f"wrote {output / 'metrics.jsonl'}, {output / 'alerts.jsonl'}, {output / 'worker.log'}", flush=True)
            if keep_console:
                console_process.keep_running(address)
    return 0


def _interrupt(ending: Ending, number: int, frame: object) -> None:
    ending.begin()
    raise KeyboardInterrupt


def _models(data: dataset.DemoData, cache: Path) -> Path:
    """The directory with the demo's spec and its baseline, which is built once from the reference data."""
    directory = data.reference.parent / f"models-{baseline.FORMAT.rpartition('/')[2]}"
    directory.mkdir(exist_ok=True)
    spec = directory / "flight_delays.yaml"
    text = resources.files("tidegauge.demo").joinpath("flight_delays.yaml").read_text("utf-8")
    file = directory / BASELINE
    # A baseline of a version that knew no ranges to search is built anew.
    known = file.exists() and b'"searched_share"' in file.read_bytes()
    if not known or not spec.exists() or spec.read_text("utf-8") != text:
        from tidegauge.models.read import load_to_build
        from tidegauge.offline import reference

        print("  building the baseline from January to March", flush=True)
        spec.write_text(text, "utf-8")
        file.write_bytes(reference.build(load_to_build(spec), "flight_delays:1", data.reference).to_json())
    return directory


def _baseline_metrics(directory: Path) -> dict[str, Any]:
    held: dict[str, Any] = msgspec.json.decode((directory / BASELINE).read_bytes())["metrics"]
    return held


async def _apply(settings: Settings, directory: Path) -> None:
    await models_topic.apply(settings, records_of(directory))


def _free_ports(count: int) -> list[int]:
    """``count`` consecutive free ports, since the workers use consecutive ones."""
    while True:
        first = free_port()
        with contextlib.suppress(OSError):
            import socket

            for port in range(first, first + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return list(range(first, first + count))


@contextlib.contextmanager
def _workers(settings: Settings, count: int, ports: list[int], scratch: Path, output: Path) -> Iterator[None]:
    command = [
        sys.executable, "-m", "tidegauge", "worker", "--bootstrap", settings.bootstrap, "--workers", str(count),
        "--metrics-port", str(ports[0]), "--state-dir", str(scratch / "state"), "--idle-timeout", "2",
        "--partitions", str(settings.partitions),
        # In the demo, days of event time pass in a second of the wall clock.
        "--checkpoint-interval", "0.1",
    ]  # fmt: skip
    with (output / "worker.log").open("wb") as log:
        supervisor = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent(signal.SIGTERM)
        )
    try:
        yield
    finally:
        end(supervisor, 20)


def _wait_ready(ports: list[int]) -> None:
    deadline = time.monotonic() + 60
    for port in ports:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).read()
                break
            if time.monotonic() > deadline:
                raise TidegaugeError("the workers did not become ready within a minute; see worker.log")
            time.sleep(0.1)


class DemoRun:
    """Sends the events at their pace and shows the results."""

    def __init__(
        self, settings: Settings, events: list[dataset.TimedEvent], rate: float, ports: list[int], output: Path
    ) -> None:
        self._settings, self._events, self._rate, self._ports, self._output = settings, events, rate, ports, output
        self._sent = 0
        self._time = events[0].time
        self.alerts: list[dict[str, Any]] = []
        self._firing: set[str] = set()
        self._windows: Counter[str] = Counter()
        self._last_output = time.monotonic()

    async def run(self) -> list[dict[str, Any]]:
        """Run the replay; return the alerts in the order in which they were published."""
        with (self._output / "alerts.jsonl").open("wb") as alerts, (self._output / "metrics.jsonl").open("wb") as metrics:
            watching = [asyncio.create_task(self._alerts(alerts)), asyncio.create_task(self._metrics(metrics))]
            summary = asyncio.create_task(self._summaries())
            await self._send()
            await self._settle()
            for task in (*watching, summary):
                task.cancel()
            for ended in await asyncio.gather(*watching, summary, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended
        self._line("\n")
        return self.alerts

    async def _send(self) -> None:
        began, first = time.monotonic(), self._events[0].time
        async with Client(**self._settings.client()) as client:
            for ts, topic, value in self._events:
                await client.send(topic, key_of(value), value)
                self._sent += 1
                if self._sent % 200 == 0:
                    self._time = ts
                    ahead = (ts - first) / self._rate - (time.monotonic() - began)
                    await asyncio.sleep(max(ahead, 0.0))
        self._time = self._events[-1].time

    async def _settle(self) -> None:
        """Wait until every event has been read, no stage lags behind, and nothing has been published for a while."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(0.5)
            read, _, lag = await asyncio.to_thread(self._scrape)
            if read >= self._sent and not lag and time.monotonic() - self._last_output > QUIET_SECONDS:
                return

    async def _alerts(self, file: Any) -> None:
        async for record in records(self._settings, ALERTS, follow=True):
            file.write(record.value + b"\n")
            event = msgspec.json.decode(record.value)
            self.alerts.append(event)
            self._last_output = time.monotonic()
            (self._firing.add if event["data"]["status"] == "firing" else self._firing.discard)(event["data"]["fingerprint"])
            self._line(line(event)[:200] + "\n")

    async def _metrics(self, file: Any) -> None:
        async for record in records(self._settings, METRICS, follow=True):
            file.write(record.value + b"\n")
            self._last_output = time.monotonic()
            seen = msgspec.json.decode(record.value)
            if not seen["segment"] and seen.get("kind") != "comparison":
                self._windows["closed" if seen["reason"] == "closed" else "restated"] += 1

    async def _summaries(self) -> None:
        terminal = sys.stdout.isatty()
        sent, at = 0, time.monotonic()
        while True:
            await asyncio.sleep(1.0 if terminal else 5.0)
            now = time.monotonic()
            read, joined, waiting = await asyncio.to_thread(self._scrape)
            text = (
                f"{iso(self._time)[:10]}  {(self._sent - sent) / (now - at):7,.0f} events/s"
                f"  lag {max(self._sent - read, waiting):6,}"
                f"  joined {joined:9,}  windows closed {self._windows['closed']:4} restated {self._windows['restated']:4}"
                f"  firing {len(self._firing):2}"
            )
            sent, at = self._sent, now
            self._line(text + ("" if terminal else "\n"))

    def _line(self, text: str) -> None:
        clear = "\r\x1b[K" if sys.stdout.isatty() else ""
        print(f"{clear}{text}", end="", flush=True)

    def _scrape(self) -> tuple[int, int, int]:
        """The numbers of events read, of outcomes joined, and of records not yet processed, summed over all workers."""
        sums = dict.fromkeys(("tidegauge_events_total", "tidegauge_joined_total", "tidegauge_consumer_lag"), 0.0)
        for port in self._ports:
            try:
                page = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
            except OSError:
                # A worker that is too busy to answer has not read everything yet.
                sums["tidegauge_consumer_lag"] += 1
            else:
                for sample in page.splitlines():
                    name = sample.partition("{")[0].partition(" ")[0]
                    if name in sums:
                        sums[name] += float(sample.rsplit(" ", 1)[1])
        read, joined, lag = map(int, sums.values())
        return read, joined, lag
