"""Routes about the console itself: its progress in reading, who is signed in, and the OpenAPI document."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from tidegauge.console import answers, guard, openapi
from tidegauge.console.access import COOKIE, Actor
from tidegauge.console.api_requests import VIEW, WRITE, read_body
from tidegauge.console.guard import answer, problem

routes = web.RouteTableDef()


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to sign in."""

    token: str


@routes.get("/api/v1/stream")
async def stream(request: web.Request) -> web.Response:
    return answer(answers.stream(request.app[VIEW]))


@routes.get("/api/v1/session")
@guard.open_to_all
async def session(request: web.Request) -> web.Response:
    """The actor of the request, and whether signing in is possible and needed."""
    access, actor = request.app[guard.ACCESS], request.get(guard.ACTOR)
    said: dict[str, Any] = {"signed_in": actor is not None, "login": access.has_login}
    said["can_change"] = request.app[WRITE] is not None
    return answer(said | ({"actor": actor.name, "method": actor.method, "role": actor.role} if actor is not None else {}))


@routes.post("/api/v1/session")
@guard.open_to_all
async def login(request: web.Request) -> web.Response:
    access = request.app[guard.ACCESS]
    body = await read_body(request, Login)
    if isinstance(body, web.Response):
        return body
    role = access.role_of(body.token.strip())
    if role is None:
        await guard.refused(request, "wrong token")
        await asyncio.sleep(guard.FAILED_LOGIN_SECONDS)
        return problem(401, "this is not the token; it is in the file that --token-file names, where the console runs")
    request[guard.ACTOR] = Actor("token", "session", role)
    await guard.accepted(request, "sign in", "")
    response = answer({"signed_in": True})
    guard.give_session(request, response)
    return response


@routes.delete("/api/v1/session")
@guard.open_to_all
async def logout(request: web.Request) -> web.Response:
    if guard.ACTOR in request:
        await guard.accepted(request, "sign out", "")
    response = answer({"signed_in": False})
    response.del_cookie(COOKIE, path="/")
    return response


@routes.get("/api/v1/openapi.json")
@guard.open_to_all
async def described(request: web.Request) -> web.Response:
    return answer(openapi.document())
