"""The console's web server: serves the API, the pages and live updates of a view."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from aiohttp import web

from tidegauge.alert.audit import Audit, Write
from tidegauge.console import api, guard
from tidegauge.console.access import Access
from tidegauge.console.api_requests import VIEW, WRITE
from tidegauge.console.guard import problem
from tidegauge.console.live import Live
from tidegauge.console.page_files import page_files, serving
from tidegauge.console.playbook_pages import playbook
from tidegauge.console.view import View


class Server:
    """Serves ``view``. ``write``: writes a record to a topic, None if nothing can be changed; ``ready``: whether the view holds
    everything that the topics held at the start."""

    def __init__(
        self, view: View, access: Access, audit: Audit, write: Write | None, ready: Callable[[], bool] = lambda: True
    ) -> None:  # fmt: skip
        self.live = Live(view)
        self.app = web.Application(
            middlewares=[guard.security_headers, guard.checks], client_max_size=guard.MAX_BODY
        )  # fmt: skip
        self.app[VIEW], self.app[WRITE] = view, write
        self.app[guard.ACCESS], self.app[guard.AUDITING] = access, audit
        self.app.add_routes(api.routes)
        self.app.router.add_get("/api/v1/events", self.live.watch)
        self.app.router.add_get("/healthz", _alive)
        self.app.router.add_get("/readyz", self._ready)
        self.app.router.add_get("/playbooks/{page}", _playbook)
        for path, file in page_files().items():
            self.app.router.add_get(path, serving(file))
        self._is_ready = ready
        self._runner: web.AppRunner | None = None

    @guard.open_to_all
    async def _ready(self, request: web.Request) -> web.Response:
        if self._is_ready():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="reading the topics\n")

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Start to listen; return the port, which the system chooses if ``port`` is 0."""
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=2.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        self.live.close()
        if self._runner is not None:
            await self._runner.cleanup()


@guard.open_to_all
async def _alive(request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


@guard.open_to_all
async def _playbook(request: web.Request) -> web.Response:
    """A playbook as a page, which alerts link to with the option ``--playbooks https://CONSOLE/playbooks``."""
    found = playbook(request.match_info["page"])
    if found is None or "html" not in found:
        return problem(404, "there is no such playbook; docs/playbooks/ has them all")
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>Playbook</title><link rel="stylesheet" href="../console.css"><main class="text">{found["html"]}'
        '<p><a href="../">Console</a></p></main></html>'
    )
    return web.Response(text=body, content_type="text/html")
