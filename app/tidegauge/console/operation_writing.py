"""How routes write what people decide: first to the audit log, then to the topic, then to the view."""

from __future__ import annotations

import secrets
import time
from typing import Any

from aiohttp import web

from tidegauge.alert.operations import OPERATIONS, Acknowledgement, Silence, encode
from tidegauge.console import guard
from tidegauge.console.api_requests import VIEW, WRITE, refuse
from tidegauge.console.guard import problem
from tidegauge.errors import SpecError
from tidegauge.spec import duration

LONGEST_SILENCE = 366 * 86400.0


async def silence_length(request: web.Request, length: str) -> float | web.Response:
    """The seconds of a length as specs write it, or the answer that says why no silence can be so long."""
    try:
        seconds = duration(length)
    except SpecError as error:
        return await refuse(request, "bad duration", problem(400, str(error)))
    if not 0 < seconds <= LONGEST_SILENCE:
        return await refuse(request, "bad duration", problem(400, "a silence lasts longer than nothing and at most 366 days"))
    return seconds


async def acknowledge_episode(request: web.Request, data: dict[str, Any], comment: str) -> None:
    """Acknowledge the present episode of an alert. ``data``: of its newest event."""
    mark = data["fingerprint"]
    by = await change(request, "acknowledge", mark, labels=data["labels"], comment=comment)
    made = Acknowledgement(mark, data["starts_at"], by, time.time(), comment)
    await write(request, made.key, encode(made))


async def silence_labels(request: web.Request, matchers: dict[str, str], length: str, comment: str) -> None:
    """Silence alerts with these labels for a ``length`` that has been checked."""
    now, name = time.time(), secrets.token_hex(8)
    by = await change(request, "silence", name, matchers=matchers, duration=length, comment=comment)
    made = Silence(name, matchers, now, now + duration(length), by, now, comment)
    await write(request, made.key, encode(made))


async def change(request: web.Request, action: str, target: str, **details: object) -> str:
    """Write the audit entry of a change that is about to be made; return the actor's name. Raises HTTPConflict if the console
    cannot change anything."""
    if request.app[WRITE] is None:
        await guard.refused(request, "reads files")
        raise web.HTTPConflict(reason="this console reads files: there is no topic to keep the change in")
    return await guard.accepted(request, action, target, **details)


async def write(request: web.Request, key: bytes, value: bytes | None) -> None:
    """Write an operation to the topic and apply it to the view at once. When the record comes back from the topic, it changes
    nothing."""
    to_topic = request.app[WRITE]
    assert to_topic is not None
    await to_topic(OPERATIONS, key, value)
    view = request.app[VIEW]
    view.operations.apply(key, value)
    view.operations_changed()
