"""The HTTP endpoints of a process: /metrics, /healthz (it makes progress), /readyz (it has caught up and is at work)."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


async def serve(
    host: str, port: int, metrics_of: CollectorRegistry, ready: Callable[[], bool],
    trouble: Callable[[], str | None] = lambda: None,
) -> web.AppRunner:  # fmt: skip
    """Start serving; the caller calls ``cleanup`` on what it gets. ``trouble``: why the process should be started anew."""

    async def metrics(request: web.Request) -> web.Response:
        # Who asks for OpenMetrics, as Prometheus does, gets it: only there exemplars have a place.
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics_of), headers={"Content-Type": kind})

    async def alive(request: web.Request) -> web.Response:
        found = trouble()
        return web.Response(text="ok\n") if found is None else web.Response(status=503, text=f"{found}\n")

    async def readiness(request: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready: still catching up, or what it needs is away; its log says which\n")

    pages = web.Application()
    pages.add_routes([web.get("/metrics", metrics), web.get("/healthz", alive), web.get("/readyz", readiness)])
    runner = web.AppRunner(pages, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
