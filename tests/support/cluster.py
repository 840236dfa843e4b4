"""Worker processes on a real broker, as a user starts them, and what they leave in the topics."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.processed import wait_until_processed
from support.three_brokers import REPLICATION, ThreeBrokers
from tidegauge.client import Client, key_of
from tidegauge.models.registry import ModelRecord
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.processes import die_with_parent
from tidegauge.stream.reading import records
from tidegauge.stream.settings import Settings

TOPICS = ("predictions", "labels", "models", "alerts", "incidents", "metrics", "dead-letters")

AFTER_A_KILL = Settings().session_timeout + 5
"""Seconds in which the group has noticed that a member was killed, and someone reads its partitions again."""


class Cluster:
    """One application of its own on shared brokers: its topics carry ``name`` so that tests do not meet."""

    def __init__(self, brokers: Broker | ThreeBrokers, name: str, directory: Path) -> None:
        self.directory, self.name = directory, name
        self.settings = Settings(
            bootstrap=brokers.bootstrap,
            app_id=name,
            replication=REPLICATION if isinstance(brokers, ThreeBrokers) else 1,
            topics={topic: f"{name}-{topic}" for topic in TOPICS},
        )
        self._workers: list[subprocess.Popen[bytes]] = []
        self.ports: list[int] = []

    def apply(self, *given: ModelRecord) -> None:
        asyncio.run(models_topic.apply(self.settings, given))

    def start(self, index: int = 0, *flags: str, **environment: str) -> subprocess.Popen[bytes]:
        """One worker process with the state directory of ``index``."""
        port = free_port()
        flags = ("--state-dir", str(self.directory), "--index", str(index), "--metrics-port", str(port - index), *flags)
        return self._start(port, f"worker-{index}", flags, environment)

    def start_killed(
        self, workers: dict[int, subprocess.Popen[bytes]], start: Callable[[int], subprocess.Popen[bytes]], enough: int
    ) -> int:
        """Start those of ``workers`` again that have killed themselves; how many. Waits for ``enough`` of them, but not for
        ever: on a slow machine a worker may take long to come back."""
        deaths = 0
        for _ in range(20):
            time.sleep(0.7)
            for index, worker in workers.items():
                if worker.poll() is not None:
                    assert worker.returncode == -signal.SIGKILL, self.log()[-3000:]
                    deaths += 1
                    workers[index] = start(index)
            if deaths >= enough:
                break
        return deaths

    def supervise(self, index: int, *flags: str, **environment: str) -> subprocess.Popen[bytes]:
        """A supervisor of one worker, in a process group of its own, with a state directory of its own."""
        port = free_port()
        flags = ("--state-dir", str(self.directory / f"supervised-{index}"), "--metrics-port", str(port), *flags)
        return self._start(port, f"worker-supervised-{index}", flags, environment)

    def _start(self, port: int, name: str, flags: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [
            sys.executable, "-m", "tidegauge", "worker", "--bootstrap", self.settings.bootstrap, "--app-id", self.name,
            "--replication", str(self.settings.replication), "--checkpoint-interval", "0.3", "--idle-timeout", "1.5", *flags,
        ]  # fmt: skip
        command += [part for topic in TOPICS for part in (f"--{topic}-topic", self.settings.topic(topic))]
        with (self.directory / f"{name}.log").open("ab") as log:
            worker = subprocess.Popen(
                command, env=os.environ | {"PYTHONFAULTHANDLER": "1"} | environment, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=die_with_parent(signal.SIGTERM),
            )  # fmt: skip
        self._workers.append(worker)
        self.ports.append(port)
        return worker

    def log(self) -> str:
        return "".join(path.read_text() for path in self.directory.glob("worker-*.log"))

    def stop(self, seconds: float = 60.0) -> list[int]:
        """SIGTERM to all that run, which have to end within ``seconds``; their exit statuses."""
        alive = [worker for worker in self._workers if worker.poll() is None]
        for worker in alive:
            worker.send_signal(signal.SIGTERM)
        try:
            return [worker.wait(seconds) for worker in alive]
        except subprocess.TimeoutExpired as error:
            for worker in alive:
                # Each says in its log where it hangs.
                worker.send_signal(signal.SIGABRT)
                worker.wait()
            raise AssertionError(f"a worker does not stop\n{self.log()[-8000:]}") from error
        finally:
            for worker in alive:
                worker.kill()

    def send(self, events: list[tuple[str, bytes]], pause: float = 0.0, step: int = 500) -> None:
        async def run() -> None:
            # Where a broker dies, what was sent before stands once and in its order.
            async with Client(topics=self.settings.topics, enable_idempotence=True, **self.settings.client()) as client:
                for number, (topic, value) in enumerate(events, 1):
                    await client.send(topic, key_of(value), value)
                    if number % step == 0:
                        await client.flush()
                        await asyncio.sleep(pause)

        asyncio.run(run())

    def read(self, topic: str) -> list[Any]:
        async def run() -> list[Any]:
            return [record async for record in records(self.settings, topic)]

        return asyncio.run(run())

    def metrics(self) -> dict[bytes, dict[str, Any]]:
        """The newest revision of each record."""
        return {record.key: json.loads(record.value) for record in self.read("metrics")}

    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.read("alerts")]

    def scrape(self, port: int) -> str:
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        return ""

    def wait_for_predictions(
        self, count: int, windows: str, seconds: float = 90.0, quiet: float = 4.0
    ) -> dict[bytes, dict[str, Any]]:
        """Wait until all that was sent is processed, the closed windows of length ``windows`` hold ``count`` predictions, and
        nothing changes any more for ``quiet`` seconds, which are longer than the idle timeout; AFTER_A_KILL where somebody
        may still write who should not."""
        deadline = time.monotonic() + seconds
        try:
            asyncio.run(wait_until_processed(self.settings, seconds))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-5000:]}") from None
        last: Any = None
        since = time.monotonic()
        while True:
            found = self.metrics()
            whole = [r for r in found.values() if "kind" not in r and r["window"] == windows and not r["segment"]]
            state = sorted((r["window_start"], r["model_version"], r["revision"]) for r in whole)
            if state != last:
                last, since = state, time.monotonic()
            if sum(r["predictions"] for r in whole) >= count and time.monotonic() - since > quiet:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{sum(r['predictions'] for r in whole)} of {count} predictions after {seconds} s\n{self.log()[-5000:]}"
                )
            time.sleep(1.5)
