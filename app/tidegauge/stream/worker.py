"""Runs one worker process, from its settings to its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
from collections import Counter
from functools import partial
from typing import NoReturn

from aiokafka.admin import AIOKafkaAdminClient

from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.stage import PREDICTIONS, PROFILES, Counters
from tidegauge.join.stage import JoinStage
from tidegauge.models.registry import Registry
from tidegauge.monitor.stage import MonitorStage
from tidegauge.stream import ending, metrics_export, topics, tracing
from tidegauge.stream.app import StreamApp
from tidegauge.stream.ending import Ending
from tidegauge.stream.group import watch_group
from tidegauge.stream.health_endpoints import Listen, serve
from tidegauge.stream.key_placement import KeyPlacement
from tidegauge.stream.models_topic import ModelsTail
from tidegauge.stream.reading_progress import StalledPartitions
from tidegauge.stream.rekey_choice import decided
from tidegauge.stream.schema_registry import registry_at
from tidegauge.stream.settings import JOIN_CHANGELOG, Settings
from tidegauge.stream.state_directory import require_writable
from tidegauge.stream.telemetry import Telemetry
from tidegauge.stream.watchdog import Watchdog

log = logging.getLogger(__name__)
CLOSE_SECONDS = 2.0
GIVE_BACK_SECONDS = 5.0
"""Seconds between two times at which freed memory is returned to the system, which takes about a millisecond."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Constants of glibc's malloc.h."""
_KEPT_BYTES = 64 << 20
"""How much free memory at the end of the heap is kept for what comes next."""


def run(settings: Settings) -> NoReturn:
    """Run until SIGTERM or SIGINT (exit status 0) or a failure (exit status 1), and end the process."""
    # Events are short-lived and form no reference cycles. With the usual thresholds the garbage collector would run all the
    # time.
    gc.set_threshold(100_000, 50, 50)
    _frugal_heap()
    flush_spans = tracing.set_up(settings.state_dir.name)
    try:
        status = ending.run(partial(_run, settings))
    finally:
        flush_spans()
    ending.exit_at_once(status)


def _frugal_heap() -> None:
    """Make threads share one heap, and return the largest blocks to the system when they are freed.

    By default glibc gives the threads of the stores and the consumer heaps of their own, which then retain all memory that was
    ever freed. Blocks of a few MB, which fetches and checkpoints use, are retained: having their pages zeroed again by the
    system each time took an eighth of the total time.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 16 << 20)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


async def _give_back_memory() -> None:
    """Return memory that was freed between blocks in use to the system from time to time, but for the last of the heap. glibc
    does so with the last alone: after catching up with wide models half of the heap was free."""
    with contextlib.suppress(AttributeError, OSError):
        trim = ctypes.CDLL(None).malloc_trim
        while True:
            await asyncio.sleep(GIVE_BACK_SECONDS)
            trim(ctypes.c_size_t(_KEPT_BYTES))


async def _run(settings: Settings, end: Ending) -> int:
    """Run until cancelled or failed; return the exit status."""
    parts = contextlib.AsyncExitStack()
    app: StreamApp | None = None
    status = 0
    try:
        app = await _start(settings, parts, end)
        await app.failed
        status = 1
    except asyncio.CancelledError:
        log.info("the worker stops")
    finally:
        end.begin()
        if app is not None:
            status |= not await app.stop()
        closing = asyncio.ensure_future(parts.aclose())
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)
        if not closing.done() or closing.exception() is not None:
            log.warning("what the worker had open is left as it is")
    log.info("worker stopped with status %d", status)
    return status


async def _start(settings: Settings, parts: contextlib.AsyncExitStack, end: Ending) -> StreamApp:
    """Start the application and return it. ``parts``: closes what it needs."""
    require_writable(settings.state_dir)
    admin = AIOKafkaAdminClient(**settings.client())
    parts.push_async_callback(admin.close)
    await admin.start()
    registry = Registry()
    settings = await decided(admin, settings)
    sizes = await topics.ensure(admin, settings, 0.0)
    tail = ModelsTail(settings, registry)
    parts.push_async_callback(tail.stop)
    await tail.start()
    horizon = max((registry.spec(model).label_horizon for model in registry.models()), default=7 * 86400.0)
    await topics.ensure(admin, settings, horizon)
    counters: Counters = Counter()
    standstills = StalledPartitions()
    app = StreamApp(
        settings,
        {
            "join": lambda partition, store: ContainedStage(
                lambda of, counted: JoinStage(partition, of, registry, sizes[PROFILES], counted), store, partition, counters
            ),
            "monitor": lambda partition, store: ContainedStage(
                lambda of, counted: MonitorStage(of, registry, sizes[JOIN_CHANGELOG], counted, settings.playbooks),
                store,
                partition,
                counters,
            ),
        },
        admin,
        standstills,
        sizes[JOIN_CHANGELOG],
    )
    app.schema_registry = await parts.enter_async_context(registry_at(settings.schema_registry))
    placement = KeyPlacement(sizes[PREDICTIONS])
    if not settings.rekeyed:
        app.on_chunk = placement.look
    telemetry = Telemetry(app, registry, counters, standstills, placement)
    app.on_checkpoint, app.missing.on_gone = telemetry.checkpoint_took, telemetry.gone
    watchdog = Watchdog(app.marks, settings.stall_timeout, end)
    pages = Listen(settings.metrics_host, settings.metrics_port, settings.web_config)
    server = await serve(pages, telemetry.registry, lambda: app.ready, lambda: watchdog.trouble)
    parts.push_async_callback(server.cleanup)
    parts.push_async_callback(await metrics_export.start(telemetry.registry, settings.metrics_port))
    looking = asyncio.create_task(watch_group(settings, standstills, app.unread.looked))
    parts.callback(looking.cancel)
    parts.callback(asyncio.create_task(_give_back_memory()).cancel)
    watchdog.start()
    try:
        await app.start()
    except BaseException:
        await app.stop()
        raise
    gc.freeze()
    log.info("worker reads %s as group %s; metrics on port %d", settings.bootstrap, settings.app_id, settings.metrics_port)
    return app
