"""What a worker shows the outside: /metrics, /healthz (alive), /readyz (state restored, partitions owned)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

if TYPE_CHECKING:
    from tidegauge.stream.app import StreamApp
    from tidegauge.stream.settings import Settings
    from tidegauge.stream.telemetry import Telemetry


async def serve(settings: Settings, telemetry: Telemetry, app: StreamApp) -> web.AppRunner:
    """Start serving; the caller calls ``cleanup`` on what it gets."""

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=telemetry.exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(request: web.Request) -> web.Response:
        if app.ready:
            return web.Response(text="ready\n")
        return web.Response(status=503, text="restoring state or waiting for partitions\n")

    pages = web.Application()
    pages.add_routes([web.get("/metrics", metrics), web.get("/healthz", alive), web.get("/readyz", ready)])
    runner = web.AppRunner(pages, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.metrics_host, settings.metrics_port).start()
    return runner
