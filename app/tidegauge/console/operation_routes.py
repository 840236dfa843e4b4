"""Routes that acknowledge and silence alerts. Each change and each refusal is written to the audit log."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import msgspec
from aiohttp import web

from tidegauge.alert.operations import OPERATIONS, Acknowledgement, Silence, encode
from tidegauge.console import answers, guard
from tidegauge.console.alert_routes import alert
from tidegauge.console.api_requests import VIEW, WRITE, no_alert, read_body, refuse
from tidegauge.console.guard import answer, problem
from tidegauge.errors import SpecError
from tidegauge.spec import duration

routes = web.RouteTableDef()
LONGEST_SILENCE = 366 * 86400.0
MAX_MATCHERS = 20
_LABEL = re.compile("[a-zA-Z_][a-zA-Z0-9_]*")


class Comment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that may carry a comment."""

    comment: str = ""


class SilenceAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to silence one alert. ``duration``: as specs write it, such as ``2h``."""

    duration: str
    comment: str = ""


class NewSilence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a new silence. ``matchers``: label values; ``duration``: such as ``2h``."""

    matchers: dict[str, str]
    duration: str
    comment: str = ""


@routes.post("/api/v1/alerts/{fingerprint:[^/]+}/acknowledge")
async def acknowledge(request: web.Request) -> web.StreamResponse:
    data = _alert_data(request)
    if data is None:
        return await refuse(request, "no such alert", no_alert(request))
    if data["status"] != "firing":
        return await refuse(request, "not firing", problem(409, "this alert is not firing: there is nothing to acknowledge"))
    body = await read_body(request, Comment)
    if isinstance(body, web.Response):
        return body
    mark = data["fingerprint"]
    by = await _change(request, "acknowledge", mark, labels=data["labels"], comment=body.comment)
    made = Acknowledgement(mark, data["starts_at"], by, time.time(), body.comment)
    await _write(request, made.key, encode(made))
    return await alert(request)


@routes.delete("/api/v1/alerts/{fingerprint:[^/]+}/acknowledge")
async def take_back(request: web.Request) -> web.StreamResponse:
    data = _alert_data(request)
    held = None if data is None else request.app[VIEW].operations.acknowledgements.get(data["fingerprint"])
    if held is None:
        return await refuse(request, "not acknowledged", problem(404, "nobody has acknowledged this alert"))
    await _change(request, "take back acknowledgement", held.fingerprint)
    await _write(request, held.key, None)
    return await alert(request)


@routes.post("/api/v1/alerts/{fingerprint:[^/]+}/silence")
async def silence_alert(request: web.Request) -> web.Response:
    data = _alert_data(request)
    if data is None:
        return await refuse(request, "no such alert", no_alert(request))
    body = await read_body(request, SilenceAlert)
    if isinstance(body, web.Response):
        return body
    return await _silence(request, data["labels"], body.duration, body.comment)


@routes.get("/api/v1/silences")
async def silences(request: web.Request) -> web.Response:
    return answer(answers.silences(request.app[VIEW], time.time()))


@routes.post("/api/v1/silences")
async def silence(request: web.Request) -> web.Response:
    body = await read_body(request, NewSilence)
    if isinstance(body, web.Response):
        return body
    return await _silence(request, body.matchers, body.duration, body.comment)


@routes.delete("/api/v1/silences/{id:[^/]+}")
async def end_silence(request: web.Request) -> web.Response:
    held = request.app[VIEW].operations.silences.get(request.match_info["id"])
    if held is None:
        return await refuse(request, "no such silence", problem(404, "there is no such silence; it may have ended"))
    await _change(request, "end silence", held.id, matchers=held.matchers)
    await _write(request, held.key, None)
    return answer(answers.silences(request.app[VIEW], time.time()))


def _alert_data(request: web.Request) -> dict[str, Any] | None:
    events = request.app[VIEW].alerts.transitions(request.match_info["fingerprint"])
    return events[-1]["data"] if events else None


async def _silence(request: web.Request, matchers: dict[str, str], length: str, comment: str) -> web.Response:
    try:
        seconds = duration(length)
    except SpecError as error:
        return await refuse(request, "bad duration", problem(400, str(error)))
    if not 0 < seconds <= LONGEST_SILENCE:
        return await refuse(request, "bad duration", problem(400, "a silence lasts longer than nothing and at most 366 days"))
    # A silence that Alertmanager would refuse must not be accepted here: its alerts would still page.
    if not 0 < len(matchers) <= MAX_MATCHERS or not any(matchers.values()) or not all(map(_LABEL.fullmatch, matchers)):
        said = f"a silence needs 1 to {MAX_MATCHERS} matchers: label → value, and a value that is not empty"
        return await refuse(request, "bad matchers", problem(400, said))
    now = time.time()
    name = secrets.token_hex(8)
    by = await _change(request, "silence", name, matchers=matchers, duration=length, comment=comment)
    made = Silence(name, matchers, now, now + seconds, by, now, comment)
    await _write(request, made.key, encode(made))
    return answer(answers.silences(request.app[VIEW], now), 201)


async def _change(request: web.Request, action: str, target: str, **details: object) -> str:
    """Write the audit entry of a change that is about to be made; return the actor's name. Raises HTTPConflict if the console
    cannot change anything."""
    if request.app[WRITE] is None:
        await guard.refused(request, "reads files")
        raise web.HTTPConflict(reason="this console reads files: there is no topic to keep the change in")
    return await guard.accepted(request, action, target, **details)


async def _write(request: web.Request, key: bytes, value: bytes | None) -> None:
    """Write an operation to the topic and apply it to the view at once. When the record comes back from the topic, it changes
    nothing."""
    write = request.app[WRITE]
    assert write is not None
    await write(OPERATIONS, key, value)
    view = request.app[VIEW]
    view.operations.apply(key, value)
    view.operations_changed()
