"""One worker process: from settings to exit status."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
from collections import Counter

from aiokafka.admin import AIOKafkaAdminClient

from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.stage import PREDICTIONS, PROFILES
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import Registry
from tidegauge.monitor.stage import MonitorStage
from tidegauge.stream import topics, tracing
from tidegauge.stream.app import StreamApp
from tidegauge.stream.health_endpoints import serve
from tidegauge.stream.models_topic import ModelsTail
from tidegauge.stream.settings import Settings
from tidegauge.stream.telemetry import Telemetry

log = logging.getLogger(__name__)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""


def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (0) or a failure (1)."""
    # Events die young and hold no cycles: the collector's usual thresholds would have it run all the time.
    gc.set_threshold(100_000, 50, 50)
    _frugal_heap()
    flush_spans = tracing.set_up(settings.state_dir.name)
    try:
        return asyncio.run(_run(settings))
    finally:
        flush_spans()


def _frugal_heap() -> None:
    """Let threads share one heap, and the largest blocks go back to the system when they are freed.

    glibc would give the stores' and the consumer's threads heaps of their own, which free what others allocate, and come to
    keep all that was ever free. Blocks of a few MB, of which a fetch and a checkpoint are made, are kept: to have each of
    their pages given anew, and zeroed, took an eighth of all the time.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 16 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)


async def _run(settings: Settings) -> int:
    loop = asyncio.get_running_loop()
    stop = loop.create_future()

    def on_signal() -> None:
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    registry = Registry()
    tail = ModelsTail(settings, registry)
    sizes = await topics.ensure(admin, settings, 0.0)
    await tail.start()
    horizon = max((registry.spec(model).label_horizon for model in registry.models()), default=7 * 86400.0)
    await topics.ensure(admin, settings, horizon)
    counters: Counter[tuple[str, str]] = Counter()
    app = StreamApp(
        settings,
        {
            "join": lambda partition, store: ContainedStage(
                lambda of, counted: JoinStage(partition, of, registry, sizes[PROFILES], counted), store, partition, counters
            ),
            "monitor": lambda partition, store: ContainedStage(
                lambda of, counted: MonitorStage(partition, of, registry, sizes[PREDICTIONS], counted, settings.playbooks),
                store,
                partition,
                counters,
            ),
        },
        admin,
    )
    telemetry = Telemetry(app, registry, counters)
    app.on_checkpoint = telemetry.checkpoint_took
    server = await serve(settings.metrics_host, settings.metrics_port, telemetry.registry, lambda: app.ready)
    await app.start()
    gc.freeze()
    log.info("worker reads %s as group %s; metrics on port %d", settings.bootstrap, settings.app_id, settings.metrics_port)
    await asyncio.wait([stop, app.failed], return_when=asyncio.FIRST_COMPLETED)
    status = 1 if app.failed.done() else 0
    try:
        await asyncio.wait_for(app.stop(), 9)
    except Exception as error:
        log.error("the worker did not stop in order: %r", error)
        status = 1
    await asyncio.gather(tail.stop(), server.cleanup(), admin.close(), return_exceptions=True)
    await end_tasks()
    # Frozen objects would be reported as leaked by the sketches' bindings when the interpreter ends.
    gc.unfreeze()
    log.info("worker stopped with status %d", status)
    return status


async def end_tasks() -> None:
    """Cancel the tasks that are left until they have ended.

    A task may take a cancellation for that of what it waits for and go on, as aiokafka's fetcher does while it ends its own
    requests: asked only once, which is what ``asyncio.run`` does, it would keep the process for ever.
    """
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for _ in range(20):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.25)
    log.error("tasks do not end: %s", left)
