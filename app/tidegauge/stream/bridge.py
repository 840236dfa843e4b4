"""A process that forwards a topic to another server: its metrics and health pages, its signals, its shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

import tidegauge
from tidegauge.errors import StreamError
from tidegauge.stream import metrics_export
from tidegauge.stream.health_endpoints import Listen, serve

log = logging.getLogger(__name__)


class Bridge(Protocol):
    """A forwarding process. ``registry``: the metrics on its page /metrics; ``ready``: whether it has caught up and the other
    server accepts what it sends."""

    @property
    def registry(self) -> CollectorRegistry: ...
    @property
    def ready(self) -> bool: ...
    def run(self) -> Coroutine[Any, Any, None]:
        """Run until cancelled. Whatever is not committed by then is forwarded again by the next process."""
        ...


class Meters:
    """The metrics of every bridge, whose names begin with ``prefix``. ``lag``: the number of records not yet forwarded."""

    def __init__(self, prefix: str, lag: Callable[[], float]) -> None:
        self.registry = made = CollectorRegistry()
        Gauge("tidegauge_build_info", "Version of tidegauge", ["version"], registry=made).labels(tidegauge.__version__).set(1)
        ProcessCollector(registry=made)
        self.requests = Counter(f"{prefix}_requests", "Requests to the other server", ["outcome"], registry=made)
        for outcome in ("taken", "unavailable", "rejected"):
            self.requests.labels(outcome)
        self._last = Gauge(
            f"{prefix}_last_success_timestamp_seconds", "When the other server last took a request", registry=made
        )
        self.unreadable = Counter(f"{prefix}_unreadable", "Records of the topic that could not be read", registry=made)
        Gauge(f"{prefix}_lag_records", "Records of the topic not yet handed over", registry=made).set_function(lag)

    def taken(self) -> None:
        """Count a request that the other server accepted."""
        self.requests.labels("taken").inc()
        self._last.set_to_current_time()


async def run(bridge: Bridge, at: Listen, more: Iterable[web.RouteDef] = ()) -> int:
    """Run a bridge with its pages at ``at``, of which ``more`` are its own, until cancelled; return the exit status. Errors of
    the bridge are raised."""
    work = asyncio.ensure_future(bridge.run())
    try:
        try:
            server = await serve(at, bridge.registry, lambda: bridge.ready, more=more)
        except OSError as error:
            raise StreamError(f"port {at.port} of {at.host} cannot be listened on: {error}; choose --metrics-port") from error
        try:
            stop_sending = await metrics_export.start(bridge.registry, at.port)
            try:
                await work
            finally:
                await stop_sending()
        finally:
            await server.cleanup()
    finally:
        work.cancel()
        await asyncio.wait([work])
        log.info("stopped")
    return 0
