"""Live updates: server-sent events that name what has changed, at most once a second; the pages then request it."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from tidegauge.console.guard import HEADERS, problem
from tidegauge.console.view import View

INTERVAL = 1.0
HEARTBEAT = 15.0
MAX_WATCHERS = 200
MODELS_NAMED = 100
"""The most changed models that are named in one event; with more, the event says ``many``."""


class Live:
    """Sends the view's changes to all watchers. Each watcher has a queue of one event. Changes that come while it is full are
    merged into that event, so a slow watcher misses nothing."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._waiting: dict[asyncio.Event, dict[str, Any]] = {}
        self._closing = False

    async def run(self) -> None:
        """Send changes until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            changes = self._view.changes()
            if not changes:
                continue
            for wake, said in self._waiting.items():
                said.setdefault("models", set()).update(changes.models)
                for part in ("alerts", "operations", "stream"):
                    said[part] = said.get(part, False) or getattr(changes, part)
                said["read"] = round(self._view.read, 3)
                wake.set()

    def close(self) -> None:
        """End the streams of all watchers, so that the server can stop."""
        self._closing = True
        for wake in self._waiting:
            wake.set()

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v1/events``."""
        if len(self._waiting) >= MAX_WATCHERS:
            return problem(503, f"{MAX_WATCHERS} pages are watching already; close some, or poll")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no", **HEADERS}
        )
        await response.prepare(request)
        wake = asyncio.Event()
        self._waiting[wake] = {}
        try:
            hello = msgspec.json.encode({"read": round(self._view.read, 3)})
            await response.write(b"retry: 2000\nevent: hello\ndata: " + hello + b"\n\n")
            while not self._closing:
                try:
                    await asyncio.wait_for(wake.wait(), HEARTBEAT)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                wake.clear()
                said, self._waiting[wake] = self._waiting[wake], {}
                if said:
                    await response.write(b"event: change\ndata: " + _event(said) + b"\n\n")
        except (ConnectionResetError, ConnectionError):
            pass
        finally:
            del self._waiting[wake]
        return response


def _event(said: dict[str, Any]) -> bytes:
    models = sorted(said["models"])
    return msgspec.json.encode({**said, "models": models[:MODELS_NAMED], "many": len(models) > MODELS_NAMED})
