"""The HTTP API, `/api/v1`: reads the view; acknowledging and silencing are all that it changes."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Any

import msgspec
from aiohttp import web

from tidegauge.alert.operations import OPERATIONS, Acknowledgement, Silence, encode
from tidegauge.console import answers, guard, openapi
from tidegauge.console.access import COOKIE, Actor
from tidegauge.console.audit import Write
from tidegauge.console.guard import answer, problem
from tidegauge.console.published_windows import Series
from tidegauge.console.view import View
from tidegauge.errors import SpecError
from tidegauge.spec import duration

VIEW = web.AppKey("view", View)
WRITE = web.AppKey[Write | None]("write")
routes = web.RouteTableDef()
LONGEST_SILENCE = 366 * 86400.0
MAX_MATCHERS = 20
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


class Comment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    comment: str = ""


class SilenceAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``duration`` as specs write it: ``2h``."""

    duration: str
    comment: str = ""


class NewSilence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    matchers: dict[str, str]
    duration: str
    comment: str = ""


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    token: str


@routes.get("/api/v1/models")
async def models(request: web.Request) -> web.Response:
    return answer(answers.models(request.app[VIEW], time.time()))


@routes.get("/api/v1/models/{model}")
async def model(request: web.Request) -> web.Response:
    found = answers.model(request.app[VIEW], request.match_info["model"], time.time())
    return answer(found) if found is not None else _no_model(request)


@routes.get("/api/v1/models/{model}/windows")
async def windows(request: web.Request) -> web.Response:
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    query = request.query
    members = [name for name in query.get("members", "").split(",") if name]
    limit = query.get("limit", str(answers.WINDOWS_AT_ONCE))
    if not (limit.isascii() and limit.isdigit() and int(limit) <= answers.WINDOWS_AT_ONCE):
        return problem(400, f"limit {limit!r} is not a number up to {answers.WINDOWS_AT_ONCE}")
    body = answers.windows(series, query.get("from", ""), query.get("to", ""), members, int(limit))
    return _raw(body)


@routes.get("/api/v1/models/{model}/restatements")
async def restatements(request: web.Request) -> web.Response:
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    return answer(answers.restatements(series, request.query.get("from", ""), request.query.get("to", "")))


@routes.get("/api/v1/models/{model}/segments")
async def segments(request: web.Request) -> web.Response:
    query, name = request.query, request.match_info["model"]
    start = query.get("window_start", "")
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    if not start:
        return problem(400, "say which window: &window_start=TIME; .../windows lists them")
    return _raw(answers.segments(request.app[VIEW], name, series.name.version, series.name.window, start))


@routes.get("/api/v1/models/{model}/comparisons")
async def comparisons(request: web.Request) -> web.Response:
    view, name = request.app[VIEW], request.match_info["model"]
    return _raw(answers.comparisons(view, name)) if name in view.models() else _no_model(request)


@routes.get("/api/v1/models/{model}/limits")
async def limits(request: web.Request) -> web.Response:
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    name = request.match_info["model"]
    return answer(answers.limits(request.app[VIEW], name, series.name.version, series.name.window))


@routes.get("/api/v1/models/{model}/distributions")
async def distributions(request: web.Request) -> web.Response:
    view, name = request.app[VIEW], request.match_info["model"]
    if name not in view.models():
        return _no_model(request)
    return answer(answers.distributions(view, name, request.query.get("version", "")))


@routes.get("/api/v1/alerts")
async def alerts(request: web.Request) -> web.Response:
    wanted = {name: request.query.get(name, "") for name in ("status", "model", "severity")}
    return answer(answers.alerts(request.app[VIEW], time.time(), wanted))


@routes.get("/api/v1/alerts/{fingerprint}")
async def alert(request: web.Request) -> web.Response:
    found = answers.alert(request.app[VIEW], request.match_info["fingerprint"], time.time())
    return answer(found) if found is not None else _no_alert(request)


@routes.get("/api/v1/incidents")
async def incidents(request: web.Request) -> web.Response:
    wanted = {name: request.query.get(name, "") for name in ("status", "model")}
    return answer(answers.incidents(request.app[VIEW], wanted))


@routes.get("/api/v1/incidents/{id}")
async def incident(request: web.Request) -> web.Response:
    name = request.match_info["id"]
    found = answers.incident(request.app[VIEW], name, time.time())
    return answer(found) if found is not None else problem(404, f"no incident {name!r}; /api/v1/incidents lists them")


@routes.post("/api/v1/alerts/{fingerprint}/acknowledge")
async def acknowledge(request: web.Request) -> web.StreamResponse:
    data = _alert_data(request)
    if data is None:
        return await _refuse(request, "no such alert", _no_alert(request))
    if data["status"] != "firing":
        return await _refuse(request, "not firing", problem(409, "this alert is not firing: there is nothing to acknowledge"))
    body = await _body(request, Comment)
    if isinstance(body, web.Response):
        return body
    mark = data["fingerprint"]
    by = await _change(request, "acknowledge", mark, labels=data["labels"], comment=body.comment)
    made = Acknowledgement(mark, data["starts_at"], by, time.time(), body.comment)
    await _write(request, made.key, encode(made))
    return await alert(request)


@routes.delete("/api/v1/alerts/{fingerprint}/acknowledge")
async def take_back(request: web.Request) -> web.StreamResponse:
    data = _alert_data(request)
    held = None if data is None else request.app[VIEW].operations.acknowledgements.get(data["fingerprint"])
    if held is None:
        return await _refuse(request, "not acknowledged", problem(404, "nobody has acknowledged this alert"))
    await _change(request, "take back acknowledgement", held.fingerprint)
    await _write(request, held.key, None)
    return await alert(request)


@routes.post("/api/v1/alerts/{fingerprint}/silence")
async def silence_alert(request: web.Request) -> web.Response:
    data = _alert_data(request)
    if data is None:
        return await _refuse(request, "no such alert", _no_alert(request))
    body = await _body(request, SilenceAlert)
    if isinstance(body, web.Response):
        return body
    return await _silence(request, data["labels"], body.duration, body.comment)


@routes.get("/api/v1/silences")
async def silences(request: web.Request) -> web.Response:
    return answer(answers.silences(request.app[VIEW], time.time()))


@routes.post("/api/v1/silences")
async def silence(request: web.Request) -> web.Response:
    body = await _body(request, NewSilence)
    if isinstance(body, web.Response):
        return body
    return await _silence(request, body.matchers, body.duration, body.comment)


@routes.delete("/api/v1/silences/{id}")
async def end_silence(request: web.Request) -> web.Response:
    held = request.app[VIEW].operations.silences.get(request.match_info["id"])
    if held is None:
        return await _refuse(request, "no such silence", problem(404, "there is no such silence; it may have ended"))
    await _change(request, "end silence", held.id, matchers=held.matchers)
    await _write(request, held.key, None)
    return answer(answers.silences(request.app[VIEW], time.time()))


@routes.get("/api/v1/stream")
async def stream(request: web.Request) -> web.Response:
    return answer(answers.stream(request.app[VIEW]))


@routes.get("/api/v1/session")
@guard.open_to_all
async def session(request: web.Request) -> web.Response:
    """Who asks, and whether signing in is possible and needed."""
    access, actor = request.app[guard.ACCESS], request.get(guard.ACTOR)
    said: dict[str, Any] = {"signed_in": actor is not None, "login": access.has_login}
    said["can_change"] = request.app[WRITE] is not None
    return answer(said | ({"actor": actor.name, "method": actor.method} if actor is not None else {}))


@routes.post("/api/v1/session")
@guard.open_to_all
async def login(request: web.Request) -> web.Response:
    access = request.app[guard.ACCESS]
    body = await _body(request, Login)
    if isinstance(body, web.Response):
        return body
    if not access.is_token(body.token.strip()):
        await guard.refused(request, "wrong token")
        await asyncio.sleep(guard.FAILED_LOGIN_SECONDS)
        return problem(401, "this is not the token; it is in the file that --token-file names, where the console runs")
    request[guard.ACTOR] = Actor("token", "session")
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


def _raw(body: bytes) -> web.Response:
    response = web.Response(body=body, content_type="application/json", headers={"Cache-Control": "no-store"})
    response.enable_compression()
    return response


def _series(request: web.Request) -> Series | web.Response:
    view, name, query = request.app[VIEW], request.match_info["model"], request.query
    if name not in view.models():
        return _no_model(request)
    version, window = query.get("version", ""), query.get("window", "")
    if not version or not window:
        return problem(400, "say which windows: ?version=VERSION&window=LENGTH; /api/v1/models/MODEL lists them")
    found = view.windows.find(name, version, window, query.get("segment", ""))
    return found or problem(
        404, f"{name} has no windows of {window} of version {version} there; /api/v1/models/{name} lists them"
    )


def _no_model(request: web.Request) -> web.Response:
    return problem(404, f"no model {request.match_info['model']!r}; /api/v1/models lists them")


def _no_alert(request: web.Request) -> web.Response:
    return problem(404, f"no alert {request.match_info['fingerprint']!r}; /api/v1/alerts lists them")


def _alert_data(request: web.Request) -> dict[str, Any] | None:
    events = request.app[VIEW].alerts.transitions(request.match_info["fingerprint"])
    return events[-1]["data"] if events else None


async def _body(request: web.Request, kind: Any) -> Any:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        return await _refuse(request, "unreadable body", problem(400, f"the body cannot be read: {error}"))


async def _silence(request: web.Request, matchers: dict[str, str], length: str, comment: str) -> web.Response:
    try:
        seconds = duration(length)
    except SpecError as error:
        return await _refuse(request, "bad duration", problem(400, str(error)))
    if not 0 < seconds <= LONGEST_SILENCE:
        return await _refuse(request, "bad duration", problem(400, "a silence lasts longer than nothing and at most 366 days"))
    # What Alertmanager would refuse would be shown as silenced, and page.
    if not 0 < len(matchers) <= MAX_MATCHERS or not any(matchers.values()) or not all(map(_LABEL.fullmatch, matchers)):
        said = f"a silence needs 1 to {MAX_MATCHERS} matchers: label → value, and a value that is not empty"
        return await _refuse(request, "bad matchers", problem(400, said))
    now = time.time()
    name = secrets.token_hex(8)
    by = await _change(request, "silence", name, matchers=matchers, duration=length, comment=comment)
    made = Silence(name, matchers, now, now + seconds, by, now, comment)
    await _write(request, made.key, encode(made))
    return answer(answers.silences(request.app[VIEW], now), 201)


async def _refuse(request: web.Request, reason: str, response: web.Response) -> web.Response:
    await guard.refused(request, reason)
    return response


async def _change(request: web.Request, action: str, target: str, **details: object) -> str:
    """Audit a change that is about to be made; the actor's name. Raises HTTPConflict where nothing can be changed."""
    if request.app[WRITE] is None:
        await guard.refused(request, "reads files")
        raise web.HTTPConflict(reason="this console reads files: there is no topic to keep the change in")
    return await guard.accepted(request, action, target, **details)


async def _write(request: web.Request, key: bytes, value: bytes | None) -> None:
    """Into the topic, and into the view at once: the record comes back from the topic, which changes nothing any more."""
    write = request.app[WRITE]
    assert write is not None
    await write(OPERATIONS, key, value)
    view = request.app[VIEW]
    view.operations.apply(key, value)
    view.operations_changed()
