"""The benchmarks' common ground: events like a scoring service's, a broker with them in it, and a worker to time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import psutil
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import murmur2

from tidegauge.client import Client, EventToSend, produce
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import DetectorSpec, ModelSpec
from tidegauge.stream import models_topic
from tidegauge.stream.broker import free_port
from tidegauge.stream.settings import Settings

START = 1_758_931_200.0
SPEC = ModelSpec(
    "churn",
    task="binary",
    segments=(("region",), ("device",)),
    windows=("1m",),
    grace=5.0,
    detectors=(DetectorSpec("error-shift", "error", "adwin"),),
)
RECORD = ModelRecord("churn", SPEC)


def request_id(seed: str) -> str:
    """32 hexadecimal digits, as incompressible as a UUID."""
    return hashlib.blake2b(seed.encode(), digest_size=16).hexdigest()


def write(directory: Path, count: int, rate: float = 2000.0) -> tuple[Path, Path]:
    """``count`` predictions (about 490 bytes: 8 numbers, 2 categories, 2 segments) and a label for each, in ``ts`` order,
    ``rate`` predictions a second of event time, labels 10 s later in the mean."""
    rng = np.random.default_rng(1)
    ts = START + np.arange(count) / rate
    scores, features = rng.random(count), rng.normal(size=(count, 8))
    labels, delays = (rng.random(count) < scores).astype(int), rng.exponential(10.0, count)
    latency = rng.gamma(4.0, 3.0, count)
    words = {
        name: rng.choice(values, count).tolist()
        for name, values in (
            ("country", ["de", "fr", "us", "jp"]), ("plan", ["a", "b", "c"]), ("region", ["eu", "us", "ap"]),
            ("device", ["ios", "android", "web"]),
        )
    }  # fmt: skip
    predictions, outcomes = directory / "predictions.jsonl", directory / "labels.jsonl"
    ids = [request_id(f"w{number}") for number in range(count)]
    with predictions.open("wb") as file:
        for i in range(count):
            row = {f"num_{k}": value for k, value in enumerate(features[i].tolist())}
            event = {
                "request_id": ids[i], "ts": float(ts[i]), "model": "churn", "model_version": "churn_xgb:3",
                "prediction": int(scores[i] > 0.5), "score": float(scores[i]),
                "features": row | {"country": words["country"][i], "plan": words["plan"][i]},
                "segments": {"region": words["region"][i], "device": words["device"][i]},
                "latency_ms": float(latency[i]),
            }  # fmt: skip
            file.write(orjson.dumps(event) + b"\n")
    with outcomes.open("wb") as file:
        for i in np.argsort(ts + delays).tolist():
            file.write(orjson.dumps({"request_id": ids[i], "ts": float(ts[i] + delays[i]), "label": int(labels[i])}) + b"\n")
    return predictions, outcomes


def events(predictions: Path, labels: Path, block: int = 20_000) -> Iterator[EventToSend]:
    """Both files' lines in alternating blocks, so that labels follow their predictions as they do live."""
    with predictions.open("rb") as p, labels.open("rb") as q:
        while True:
            empty = True
            for topic, file in ((PREDICTIONS, p), (LABELS, q)):
                for _ in range(block):
                    line = file.readline()
                    if not line:
                        break
                    empty = False
                    yield EventToSend(topic, line.rstrip())
            if empty:
                return


async def fill(settings: Settings, predictions: Path, labels: Path) -> None:
    """Topics, spec and events."""
    await models_topic.apply(settings, [RECORD])
    async with Client(**settings.client()) as client:
        await produce(client, events(predictions, labels))


class Bulk:
    """Events in batches built by hand, so that the generator costs little beside the worker: ``count`` request ids by
    partition, and the rest of each event from a few thousand templates."""

    TEMPLATES = 5000

    def __init__(self, directory: Path, name: str, count: int, partitions: int) -> None:
        predictions, labels = (file.read_bytes().splitlines() for file in write(directory, self.TEMPLATES))
        self.ends = {
            PREDICTIONS: [line[line.index(b',"model"') :] for line in predictions],
            LABELS: [line[line.index(b',"label"') :] for line in labels],
        }
        self.ids: list[list[bytes]] = [[] for _ in range(partitions)]
        for number in range(count):
            key = request_id(f"{name}{number}").encode()
            self.ids[(murmur2(key) & 0x7FFFFFFF) % partitions].append(key)

    async def send(self, producer: AIOKafkaProducer, topic: str, partition: int, keys: list[bytes], ts: float) -> None:
        """The events of ``keys`` at ``ts``, all of one partition."""
        ends, now = self.ends[topic], b"%.6f" % ts
        batch = producer.create_batch()
        for i, key in enumerate(keys):
            value = b'{"request_id":"' + key + b'","ts":' + now + ends[i % self.TEMPLATES]
            if batch.append(key=key, value=value, timestamp=None) is None:
                raise RuntimeError(f"a batch holds {i} events, not {len(keys)}")
        await producer.send_batch(batch, topic, partition=partition)


class ProgramEnded(RuntimeError):
    """A program that a benchmark waits for has ended; says with which status, and what it has logged."""


class Program:
    """A process of `tidegauge` with these arguments, which answers HTTP requests at ``port``. What it, and those that ``start``
    started before it, write to their standard error is kept until ``stop``."""

    def __init__(self, port: int, *arguments: str) -> None:
        self.port = port
        self._command = [sys.executable, "-m", "tidegauge", *arguments]
        with tempfile.NamedTemporaryFile(prefix="tidegauge-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = psutil.Popen(self._command, stderr=log, env=os.environ | {"PYTHONUNBUFFERED": "1"})

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(psutil.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.unlink(missing_ok=True)

    def cpu(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def resident_mb(self) -> float:
        return float(self.process.memory_info().rss / 2**20)

    def require_running(self) -> None:
        """Raises ProgramEnded."""
        status = self.process.poll()
        if status is not None:
            log = self._log.read_text("utf-8", "replace")
            raise ProgramEnded(f"{' '.join(self._command[2:])} ended with status {status}; its log:\n{log}")

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5).status == 200)
        return False

    def wait_until_ready(self, every: float = 0.05) -> None:
        """Ask every so many seconds. Raises ProgramEnded."""
        while not self.ready():
            self.require_running()
            time.sleep(every)


class Worker(Program):
    """A worker with its state in the directory ``state``: one process, or with ``supervised`` a supervisor and its process."""

    def __init__(self, settings: Settings, state: Path, *flags: str, supervised: bool = False) -> None:
        port = free_port()
        super().__init__(
            port, "worker", "--bootstrap", settings.bootstrap, "--app-id", settings.app_id, "--state-dir", str(state),
            "--metrics-port", str(port), *(() if supervised else ("--index", "0")), *flags,
        )  # fmt: skip

    def metric(self, name: str) -> float:
        """Sum of a metric's samples; 0 while the worker does not answer."""
        with contextlib.suppress(OSError):
            page = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10).read().decode()
            return sum(float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith(name))
        return 0.0

    def wait_for(self, name: str, value: float, every: float = 0.1, seconds: float = 900.0) -> None:
        """Until the metric has reached ``value``. It is asked for every so many seconds at most, since that costs the worker
        time, and sooner as it comes near. Raises ProgramEnded, or TimeoutError after ``seconds``."""
        began = time.monotonic()
        first = reached = self.metric(name)
        while reached < value:
            took = time.monotonic() - began
            self.require_running()
            if took > seconds:
                raise TimeoutError(f"{name} did not reach {value}")
            left = (value - reached) / max(reached - first, 1.0) * took
            time.sleep(min(max(left / 2, 0.05), every))
            reached = self.metric(name)


def run_fill(settings: Settings, predictions: Path, labels: Path) -> None:
    asyncio.run(fill(settings, predictions, labels))
