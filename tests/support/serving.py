"""A console over the records of a pipeline driven in memory, served on a real port."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from support.driver import SPEC, Pipeline
from support.events import stream
from tidegauge.alert.audit import Audit
from tidegauge.console.access import Access
from tidegauge.console.replay_directory import Line
from tidegauge.console.server import Server
from tidegauge.console.view import View
from tidegauge.engine.stage import METRICS, MODELS, Output
from tidegauge.models.registry import ModelRecord, encode
from tidegauge.spec import BaselineSpec, Condition, MonitorSpec

MONITORS = (
    MonitorSpec("accuracy", "performance.accuracy", "1m", Condition("below", low=0.75), "critical",
                "docs/playbooks/accuracy-drop.md", min_count=5),
    MonitorSpec("age-missing", "data.features.*.missing_ratio", "5m", Condition("above", high=0.2), min_count=5),
    MonitorSpec("never", "system.latency_ms.p95", "1m", Condition("above", high=1e9), min_count=5),
)  # fmt: skip
WATCHED = replace(SPEC, monitors=MONITORS, baseline=BaselineSpec(first=100), publish_interval=1.0)


def outputs(seed: int = 1, step: int = 25, *, ended: bool = True) -> list[Output]:
    """What the stages say of a small stream with labels that are late, missing and corrected; alerts fire and resolve.
    ``ended``: whether the stream ends, so that all windows close."""
    pipeline = Pipeline(WATCHED)
    events = stream(seed)
    for place in range(0, len(events), step):
        for topic, value in events[place : place + step]:
            pipeline.send(topic, [value])
        pipeline.checkpoint()
    if ended:
        pipeline.finish()
    return [Output(MODELS, WATCHED.model.encode(), encode(ModelRecord(WATCHED.model, WATCHED))), *pipeline.outputs]


def fed(view: View, outputs: list[Output]) -> View:
    """The view, told of what a pipeline has put out."""
    for output in outputs:
        view.take(output.topic, [Line(output.key, output.value, output.headers, 1_700_000_000_000)])
    return view


def metrics_by_key(outputs: list[Output]) -> dict[bytes, list[dict[str, Any]]]:
    """Every revision of each metrics record, oldest first; comparisons of versions are none."""
    found: dict[bytes, list[dict[str, Any]]] = {}
    for output in outputs:
        if output.topic == METRICS and output.key and output.value:
            found.setdefault(output.key, []).append(json.loads(output.value))
    return {key: revisions for key, revisions in found.items() if "kind" not in revisions[0]}


class Kept:
    """Takes what the console writes, as the topics would, and hands operations back to the view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.written: list[tuple[str, bytes | None, bytes | None]] = []

    async def write(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        self.written.append((topic, key, value))
        self.view.take(topic, [Line(key, value)])


class Running:
    """A console that runs in a thread of its own, as `tidegauge console` does, until ``stop``."""

    def __init__(self, view: View, access: Access | None = None, read_only: bool = False) -> None:
        self.view, self.lines, self.kept = view, io.BytesIO(), Kept(view)
        self._access = access or Access("127.0.0.1")
        self._write = None if read_only else self.kept.write
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        self.address = f"http://127.0.0.1:{self.port}"

    async def _start(self) -> int:
        self._server = Server(self.view, self._access, Audit(self.lines, self._write), self._write)
        self._live = asyncio.create_task(self._server.live.run())
        return await self._server.start("127.0.0.1", 0)

    def do(self, work: Any) -> Any:
        """Run ``work()`` in the console's own thread, as records arrive in it."""

        async def call() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(20)

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, Any]:
        """Status, headers and decoded body of an answer."""
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = ({"Content-Type": "application/json"} if data is not None else {}) | (headers or {})
        request = urllib.request.Request(self.address + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                status, got, raw = response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            status, got, raw = error.code, error.headers, error.read()
        return status, got, json.loads(raw) if got.get_content_type() == "application/json" else raw

    def audit(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines.getvalue().splitlines()]

    def stop(self) -> None:
        async def end() -> None:
            self._live.cancel()
            await asyncio.gather(self._live, return_exceptions=True)
            await self._server.stop()
            # Connections that are still open close in one of the loop's next turns.
            await asyncio.sleep(0.05)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@contextlib.contextmanager
def running(view: View, access: Access | None = None, read_only: bool = False) -> Iterator[Running]:
    console = Running(view, access, read_only)
    try:
        yield console
    finally:
        console.stop()
