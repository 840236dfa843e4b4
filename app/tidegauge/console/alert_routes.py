"""Routes that read alerts and incidents."""

from __future__ import annotations

import time

from aiohttp import web

from tidegauge.console import answers, incident_answers
from tidegauge.console.api_requests import VIEW, no_alert, no_incident, read_limit
from tidegauge.console.guard import answer

routes = web.RouteTableDef()


@routes.get("/api/v1/alerts")
async def alerts(request: web.Request) -> web.Response:
    wanted = {name: request.query.get(name, "") for name in ("status", "model", "severity")}
    limit = read_limit(request, answers.ALERTS_AT_ONCE)
    return limit if isinstance(limit, web.Response) else answer(answers.alerts(request.app[VIEW], time.time(), wanted, limit))


@routes.get("/api/v1/alerts/{fingerprint:[^/]+}")
async def alert(request: web.Request) -> web.Response:
    found = answers.alert(request.app[VIEW], request.match_info["fingerprint"], time.time())
    return answer(found) if found is not None else no_alert(request)


@routes.get("/api/v1/incidents")
async def incidents(request: web.Request) -> web.Response:
    wanted = {name: request.query.get(name, "") for name in ("status", "model")}
    limit = read_limit(request, incident_answers.INCIDENTS_AT_ONCE)
    if isinstance(limit, web.Response):
        return limit
    return answer(incident_answers.incidents(request.app[VIEW], time.time(), wanted, limit))


@routes.get("/api/v1/incidents/{id:[^/]+}")
async def incident(request: web.Request) -> web.Response:
    found = incident_answers.incident(request.app[VIEW], request.match_info["id"], time.time())
    return answer(found) if found is not None else no_incident(request)
