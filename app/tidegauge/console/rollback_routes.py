"""The route that rolls a model back: it first says what would be done, and does it once the version's name confirms it."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from tidegauge.console import guard
from tidegauge.console.access import DECIDE
from tidegauge.console.api_requests import VIEW, WRITE, no_model, read_body, refuse
from tidegauge.console.guard import answer, problem
from tidegauge.errors import RegistryError
from tidegauge.lineage.rolling_back import plan

routes = web.RouteTableDef()


class RollBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request to roll back. ``to``: the version that is to serve again; ``confirm``: the same version, else
    nothing is done."""

    to: str
    confirm: str = ""


@routes.post("/api/v1/models/{model:[^/]+}/rollback")
@guard.role(DECIDE)
async def roll_back(request: web.Request) -> web.Response:
    model, view = request.match_info["model"], request.app[VIEW]
    if not view.registry.known(model):
        return await refuse(request, "no such model", no_model(request))
    body = await read_body(request, RollBack)
    if isinstance(body, web.Response):
        return body
    if request.app[WRITE] is None:
        return await refuse(request, "reads files", problem(409, "this console reads files: it rolls nothing back"))
    try:
        step = await asyncio.to_thread(plan, view.registry.spec(model), body.to)
        if body.confirm != body.to:
            return answer({"done": False, "step": str(step), "answer": ""})
        await guard.accepted(request, "roll back", model, to=body.to, step=str(step))
        said = await asyncio.to_thread(step.carry_out)
    except RegistryError as error:
        return await refuse(request, str(error)[:500], problem(502, str(error)))
    return answer({"done": True, "step": str(step), "answer": said})
