"""Runs `tidegauge console`: follows the topics, or reads the files of a replay, and serves the view of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import ssl
import sys
import time
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from tidegauge.alert.audit import Audit
from tidegauge.alert.operations import OPERATIONS
from tidegauge.console import replay_directory
from tidegauge.console.access import Access
from tidegauge.console.server import Server
from tidegauge.console.view import View
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, INCIDENTS, METRICS, MODELS, OPEN_WINDOWS, PROFILES
from tidegauge.stream import ending
from tidegauge.stream.following import Follower, OperationsLog, Start
from tidegauge.stream.group import Group
from tidegauge.stream.key_placement import check_partitioner
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
MEASURE_EVERY = 5.0
LOOK_AT_KEYS_EVERY = 60.0
FOLLOWED = {
    **dict.fromkeys((MODELS, OPERATIONS), Start()),
    **dict.fromkeys((METRICS, ALERTS, INCIDENTS, DEAD_LETTERS), Start(2_000, older=True)),
    OPEN_WINDOWS: Start(2_000),
    PROFILES: Start(200),
}
"""Where reading each topic starts. Topics that may hold millions of records are read with the newest records first, so that
there is something to see at once."""


class Options(msgspec.Struct, frozen=True):
    """The options of the console. ``audit_file``: where the audit log goes, None for standard output; ``memory``: bytes for
    windows; ``replay``: the output directory of a replay, which is shown instead of topics; ``models``: its directory of
    specs."""

    host: str
    port: int
    access: Access
    audit_file: Path | None = None
    tls: ssl.SSLContext | None = None
    memory: int = 512 << 20
    replay: Path | None = None
    models: Path | None = None


def run(settings: Settings, options: Options) -> int:
    """Run until SIGTERM or SIGINT; return the exit status."""
    # The records that are held form no reference cycles, so frequent garbage collection over a million of them is a waste.
    gc.set_threshold(100_000, 50, 50)
    if options.audit_file is None:
        return ending.run(partial(_run, settings, options, sys.stdout.buffer))
    with options.audit_file.open("ab") as lines:
        return ending.run(partial(_run, settings, options, lines))


async def _run(settings: Settings, options: Options, lines: IO[bytes], end: ending.Ending) -> int:
    view = View(options.memory)
    stop = asyncio.Event()
    if options.replay is not None:
        replay_directory.read(view, options.replay, options.models)
        return await _serve(options, Server(view, options.access, Audit(lines, None), None), stop)
    follower = Follower(settings, FOLLOWED, view)
    operations, group = OperationsLog(settings), Group(settings)
    async with contextlib.AsyncExitStack() as stack:
        for part in (operations, group):
            await part.start()
            stack.push_async_callback(part.stop)
        server = Server(view, options.access, Audit(lines, operations.write), operations.write, follower.ready.is_set)
        jobs = [
            asyncio.create_task(job)
            for job in (
                follower.run(),
                _measure(view, group),
                _look_at_keys(view, settings),
                _say_ready(follower, view),
            )
        ]
        for job in jobs:
            job.add_done_callback(lambda done: stop.set() if not done.cancelled() and done.exception() else None)
        try:
            return await _serve(options, server, stop)
        finally:
            for job in jobs:
                job.cancel()
            for ended in await asyncio.gather(*jobs, return_exceptions=True):
                if isinstance(ended, Exception):
                    raise ended


async def _serve(options: Options, server: Server, stop: asyncio.Event) -> int:
    port = await server.start(options.host, options.port, options.tls)
    scheme = "http" if options.tls is None else "https"
    shown = f"[{options.host}]" if ":" in options.host else options.host
    print(f"console at {scheme}://{shown}:{port}/", file=sys.stderr, flush=True)
    live = asyncio.create_task(server.live.run())
    try:
        await stop.wait()
    finally:
        live.cancel()
        await asyncio.gather(live, return_exceptions=True)
        await server.stop()
    return 0


async def _say_ready(follower: Follower, view: View) -> None:
    began = time.monotonic()
    await follower.ready.wait()
    log.info("read %d records in %.1f s; older ones follow", follower.read, time.monotonic() - began)
    while view.read < 1:
        await asyncio.sleep(0.2)
    log.info("read all %d metrics records in %.1f s", view.windows.records, time.monotonic() - began)


async def _look_at_keys(view: View, settings: Settings) -> None:
    while True:
        try:
            view.progress.misplaced = await check_partitioner(settings)
        except Exception as error:
            log.warning("where events lie cannot be looked at: %r", error)
        await asyncio.sleep(LOOK_AT_KEYS_EVERY)


async def _measure(view: View, group: Group) -> None:
    while True:
        try:
            view.progress.measured(time.time(), await group.places())
            view.progress.reachable = True
        except Exception as error:
            view.progress.reachable = False
            log.warning("the workers' group cannot be measured: %r", error)
        view.measured()
        await asyncio.sleep(MEASURE_EVERY)
