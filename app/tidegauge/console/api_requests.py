"""What the routes of the HTTP API share: access to the view and the topics, reading of requests, and answers to wrong ones."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from tidegauge.alert.audit import Write
from tidegauge.console import guard
from tidegauge.console.guard import problem
from tidegauge.console.view import View

VIEW = web.AppKey("view", View)
WRITE = web.AppKey[Write | None]("write")
"""Writes a record to a topic; None if the console cannot change anything."""


def json_answer(body: bytes) -> web.Response:
    """A compressed answer whose ``body`` is JSON."""
    response = web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response


def no_model(request: web.Request) -> web.Response:
    return problem(404, f"no model {request.match_info['model']!r}; /api/v1/models lists them")


def no_alert(request: web.Request) -> web.Response:
    return problem(404, f"no alert {request.match_info['fingerprint']!r}; /api/v1/alerts lists them")


def no_incident(request: web.Request) -> web.Response:
    return problem(404, f"no incident {request.match_info['id']!r}; /api/v1/incidents lists them")


def read_limit(request: web.Request, most: int) -> int | web.Response:
    """The query's ``limit``, ``most`` if it has none, or the answer to one that is not a number up to ``most``."""
    limit = request.query.get("limit", str(most))
    if limit.isascii() and limit.isdigit() and int(limit) <= most:
        return int(limit)
    return problem(400, f"limit {limit!r} is not a number up to {most}")


async def read_body(request: web.Request, kind: Any) -> Any:
    """The request's body as a value of type ``kind``, or the answer that says why it is not one."""
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return await refuse(request, "unreadable body", problem(400, f"the body cannot be read: {error}"))


async def refuse(request: web.Request, reason: str, response: web.Response) -> web.Response:
    """Record in the audit log that a change is refused, and return ``response``."""
    await guard.refused(request, reason)
    return response
