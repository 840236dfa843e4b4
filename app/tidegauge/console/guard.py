"""The checks that every request passes (host, identity, origin), and the security headers of every answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from aiohttp import web

from tidegauge.alert.audit import Audit, AuditEntry, stamp
from tidegauge.console.access import COOKIE, SESSION_SECONDS, SILENCE, Access, Actor
from tidegauge.errors import StreamError

log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Marked = TypeVar("Marked")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "tidegauge",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
ACTOR = web.RequestKey("actor", Actor)
ACCESS = web.AppKey("access", Access)
AUDITING = web.AppKey("auditing", Audit)
SMALL = 1024
"""Answers of at most so many bytes are not compressed."""
SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
FAILED_LOGIN_SECONDS = 0.5
MAX_BODY = 16 << 10


def problem(status: int, text: str) -> web.Response:
    """An error answer whose ``text`` says what is wrong and what to do."""
    return answer({"error": text}, status)


def answer(value: object, status: int = 200) -> web.Response:
    """A JSON answer, compressed if it is large."""
    body = msgspec.json.encode(value)
    response = web.Response(body=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store"})
    if len(body) > SMALL:
        response.enable_compression()
    return response


@web.middleware
async def security_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware that sets the security headers of every answer, including errors."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        text = {404: "there is nothing here; see /api/v1/openapi.json", 405: "this method does nothing here"}
        response = problem(error.status, text.get(error.status, error.reason))
    except StreamError as error:
        response = problem(503, f"{error}; nothing was changed")
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        response = problem(500, "the console made a mistake; its log says more")
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


@web.middleware
async def checks(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Middleware that checks host, identity and, for requests that change something, the origin and the role. Refused changes
    are written to the audit log."""
    access = request.app[ACCESS]
    if not access.knows_host(request.host):
        return problem(
            421, f"this console does not answer to the name {request.host!r}; start it with --allowed-host to add it"
        )
    found = access.actor(request.headers, request.cookies, request.remote, time.time())
    if found is not None:
        request[ACTOR] = found
    if request.method not in SAFE:
        if not access.same_origin(request.headers, _host(request, access)):
            await refused(request, "comes from another site")
            return problem(403, "a page of another site sent this; nothing was changed")
        if request.content_type != "application/json" and request.method != "DELETE":
            await refused(request, "is not JSON")
            return problem(415, "send JSON, with content-type application/json")
    open_to_all = getattr(request.match_info.handler, "open_to_all", False) or request.match_info.http_exception is not None
    if found is None and not open_to_all:
        if request.method not in SAFE:
            await refused(request, "not signed in")
        response = problem(401, "sign in, or send the token: Authorization: Bearer …")
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    needed = getattr(request.match_info.handler, "role", SILENCE)
    if found is not None and request.method not in SAFE and not open_to_all and not found.may(needed):
        await refused(request, f"may {found.role} only")
        return problem(403, f"this needs the role {needed!r}; yours is {found.role!r}")
    return await handler(request)


def role(name: str) -> Callable[[Marked], Marked]:
    """Marks the handler of a change that needs the role ``name``; without the mark, changes need the role that silences."""

    def mark(handler: Marked) -> Marked:
        handler.role = name  # type: ignore[attr-defined]
        return handler

    return mark


def open_to_all(handler: Marked) -> Marked:
    """Marks a handler that needs no sign-in: the files of the pages, which hold no data, and the sign-in itself."""
    handler.open_to_all = True  # type: ignore[attr-defined]
    return handler


async def accepted(request: web.Request, action: str, target: str, **details: object) -> str:
    """Write the audit entry of a change that is about to be made; return the actor's name."""
    actor = request[ACTOR]
    entry = AuditEntry(
        stamp(time.time()), actor.name, actor.method, request.remote or "", action, target, "accepted", "", details
    )
    await request.app[AUDITING].log(entry)
    return actor.name


async def refused(request: web.Request, reason: str) -> None:
    """Write the audit entry of a change that is refused."""
    actor = request.get(ACTOR, Actor("", "none"))
    action = f"{request.method} {request.path}"[:500]
    entry = AuditEntry(stamp(time.time()), actor.name, actor.method, request.remote or "", action, "", "refused", reason)
    await request.app[AUDITING].log(entry)


def _host(request: web.Request, access: Access) -> str:
    """The host that the browser sees; behind a trusted proxy this is the forwarded host."""
    forwarded = request.headers.get("X-Forwarded-Host")
    return forwarded if forwarded and access.trusts(request.remote) else request.host


def give_session(request: web.Request, response: web.Response) -> None:
    """Sign the request's actor in by setting the session cookie."""
    access = request.app[ACCESS]
    secure = request.secure or (access.trusts(request.remote) and request.headers.get("X-Forwarded-Proto") == "https")
    session = access.session(request[ACTOR].role, time.time())
    response.set_cookie(COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="Strict", secure=secure, path="/")
