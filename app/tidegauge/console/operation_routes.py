"""Routes that acknowledge and silence alerts. Each change and each refusal is written to the audit log."""

from __future__ import annotations

import re
import time
from typing import Any

import msgspec
from aiohttp import web

from tidegauge.console import answers
from tidegauge.console.alert_routes import alert
from tidegauge.console.api_requests import VIEW, no_alert, read_body, refuse
from tidegauge.console.guard import answer, problem
from tidegauge.console.operation_writing import acknowledge_episode, change, silence_labels, silence_length, write

routes = web.RouteTableDef()
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
    await acknowledge_episode(request, data, body.comment)
    return await alert(request)


@routes.delete("/api/v1/alerts/{fingerprint:[^/]+}/acknowledge")
async def take_back(request: web.Request) -> web.StreamResponse:
    data = _alert_data(request)
    held = None if data is None else request.app[VIEW].operations.acknowledgements.get(data["fingerprint"])
    if held is None:
        return await refuse(request, "not acknowledged", problem(404, "nobody has acknowledged this alert"))
    await change(request, "take back acknowledgement", held.fingerprint)
    await write(request, held.key, None)
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
    await change(request, "end silence", held.id, matchers=held.matchers)
    await write(request, held.key, None)
    return answer(answers.silences(request.app[VIEW], time.time()))


def _alert_data(request: web.Request) -> dict[str, Any] | None:
    events = request.app[VIEW].alerts.transitions(request.match_info["fingerprint"])
    return events[-1]["data"] if events else None


async def _silence(request: web.Request, matchers: dict[str, str], length: str, comment: str) -> web.Response:
    seconds = await silence_length(request, length)
    if isinstance(seconds, web.Response):
        return seconds
    # A silence that Alertmanager would refuse must not be accepted here: its alerts would still page.
    if not 0 < len(matchers) <= MAX_MATCHERS or not any(matchers.values()) or not all(map(_LABEL.fullmatch, matchers)):
        said = f"a silence needs 1 to {MAX_MATCHERS} matchers: label → value, and a value that is not empty"
        return await refuse(request, "bad matchers", problem(400, said))
    await silence_labels(request, matchers, length, comment)
    return answer(answers.silences(request.app[VIEW], time.time()), 201)
