"""The HTTP endpoints of a process: /metrics, /healthz (whether it makes progress) and /readyz (whether it has caught up)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tidegauge.stream.web_config import WebConfig, passwords


class Listen(msgspec.Struct, frozen=True):
    """The address on which pages are served. ``web_config``: a file that configures TLS and passwords (see ``WebConfig``)."""

    host: str
    port: int
    web_config: Path | None = None


async def serve(
    at: Listen, metrics_of: CollectorRegistry, ready: Callable[[], bool], trouble: Callable[[], str | None] = lambda: None,
    more: Iterable[web.RouteDef] = (), max_body: int = 1 << 20,
) -> web.AppRunner:  # fmt: skip
    """Start to serve; the caller must call ``cleanup`` on the result. ``trouble``: returns the reason why the process should be
    restarted, None if there is none; ``more``: the process's own pages, which accept bodies of at most ``max_body`` bytes.
    Raises StreamError for an unusable ``web_config``."""

    async def metrics(request: web.Request) -> web.Response:
        # Clients that accept OpenMetrics, such as Prometheus, get it, since only this format has exemplars.
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics_of), headers={"Content-Type": kind})

    async def alive(request: web.Request) -> web.Response:
        found = trouble()
        return web.Response(text="ok\n") if found is None else web.Response(status=503, text=f"{found}\n")

    async def readiness(request: web.Request) -> web.Response:
        if ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="not ready: still catching up, or what it needs is away; its log says which\n")

    config = WebConfig() if at.web_config is None else WebConfig.read(at.web_config)
    tls = None if at.web_config is None else config.context(at.web_config)
    guard = [passwords(config.basic_auth_users)] if config.basic_auth_users else []
    pages = web.Application(middlewares=guard, client_max_size=max_body)
    pages.add_routes([web.get("/metrics", metrics), web.get("/healthz", alive), web.get("/readyz", readiness), *more])
    runner = web.AppRunner(pages, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, at.host, at.port, ssl_context=tls).start()
    return runner
