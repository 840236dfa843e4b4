"""Routes that acknowledge, silence and note all alerts of an incident at once, or of one fault in several models."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from aiohttp import web

from tidegauge.alert.operations import Note, encode
from tidegauge.console import health
from tidegauge.console.alert_routes import incident
from tidegauge.console.api_requests import VIEW, no_incident, read_body, refuse
from tidegauge.console.guard import problem
from tidegauge.console.incident_answers import firing_alerts, same_fault
from tidegauge.console.operation_writing import acknowledge_episode, change, silence_labels, silence_length, write

routes = web.RouteTableDef()
MAX_NOTE = 500


class AcknowledgeIncident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to acknowledge. ``together``: whether incidents of other models with the same cause are meant,
    too."""

    comment: str = ""
    together: bool = False


class SilenceIncident(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to silence. ``duration``: as specs write it, such as ``2h``."""

    duration: str
    comment: str = ""
    together: bool = False


class NewNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for a note."""

    text: str
    together: bool = False


@routes.post("/api/v1/incidents/{id:[^/]+}/acknowledge")
async def acknowledge_incident(request: web.Request) -> web.StreamResponse:
    """Those of its firing alerts that nobody has acknowledged."""
    body = await _body(request, AcknowledgeIncident)
    if isinstance(body, web.Response):
        return body
    for data in _firing(request, body.together, without="acknowledged"):
        await acknowledge_episode(request, data, body.comment)
    return await incident(request)


@routes.post("/api/v1/incidents/{id:[^/]+}/silence")
async def silence_incident(request: web.Request) -> web.StreamResponse:
    """Those of its firing alerts that no silence covers."""
    body = await _body(request, SilenceIncident)
    if isinstance(body, web.Response):
        return body
    seconds = await silence_length(request, body.duration)
    if isinstance(seconds, web.Response):
        return seconds
    for data in _firing(request, body.together, without="silenced"):
        await silence_labels(request, data["labels"], body.duration, body.comment)
    return await incident(request)


@routes.post("/api/v1/incidents/{id:[^/]+}/notes")
async def note(request: web.Request) -> web.StreamResponse:
    body = await _body(request, NewNote)
    if isinstance(body, web.Response):
        return body
    text = " ".join(body.text.split())
    if not 1 <= len(text) <= MAX_NOTE:
        return await refuse(request, "bad note", problem(400, f"a note says something, in at most {MAX_NOTE} characters"))
    about = tuple(_meant(request, body.together))
    name = secrets.token_hex(8)
    by = await change(request, "note", name, incidents=about, comment=text)
    made = Note(name, about, text, by, time.time())
    await write(request, made.key, encode(made))
    return await incident(request)


async def _body(request: web.Request, kind: Any) -> Any:
    """The request's body, or the answer that says why nothing can be done."""
    if request.app[VIEW].incidents.newest(request.match_info["id"]) is None:
        return await refuse(request, "no such incident", no_incident(request))
    return await read_body(request, kind)


def _meant(request: web.Request, together: bool) -> list[str]:
    """The ids of the incidents that a request is about."""
    name = request.match_info["id"]
    return same_fault(request.app[VIEW], name) if together else [name]


def _firing(request: web.Request, together: bool, without: str) -> list[dict[str, Any]]:
    """The data of the alerts that fire and are not yet ``without`` (acknowledged or silenced)."""
    view = request.app[VIEW]
    events = [event for name in _meant(request, together) if (event := view.incidents.newest(name)) is not None]
    firing = [data for event in events for data in firing_alerts(view, event["data"])]
    now = time.time()
    return [data for data in firing if without not in health.attention(view, data, now)]
