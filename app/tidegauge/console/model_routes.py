"""Routes about models: their windows, features, restatements, segments, comparisons, limits and distributions."""

from __future__ import annotations

import time

from aiohttp import web

from tidegauge.console import answers
from tidegauge.console.api_requests import VIEW, json_answer, no_model, read_limit
from tidegauge.console.fleet import fleet
from tidegauge.console.guard import answer, problem
from tidegauge.console.window_series import Series
from tidegauge.report.feature_history import LIMITS, MEASURES, feature_history

routes = web.RouteTableDef()


@routes.get("/api/v1/models")
async def models(request: web.Request) -> web.Response:
    return answer(answers.models(request.app[VIEW], time.time()))


@routes.get("/api/v1/fleet")
async def all_models_over_time(request: web.Request) -> web.Response:
    return answer(fleet(request.app[VIEW]))


# A name may have braces, which the pattern of aiohttp does not allow unless told.
@routes.get("/api/v1/models/{model:[^/]+}")
async def model(request: web.Request) -> web.Response:
    found = answers.model(request.app[VIEW], request.match_info["model"], time.time())
    return answer(found) if found is not None else no_model(request)


@routes.get("/api/v1/models/{model:[^/]+}/windows")
async def windows(request: web.Request) -> web.Response:
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    query = request.query
    members = [name for name in query.get("members", "").split(",") if name]
    limit = read_limit(request, answers.WINDOWS_AT_ONCE)
    if isinstance(limit, web.Response):
        return limit
    return json_answer(answers.windows(series, query.get("from", ""), query.get("to", ""), members, limit))


@routes.get("/api/v1/models/{model:[^/]+}/open-windows")
async def open_windows(request: web.Request) -> web.Response:
    view, name, query = request.app[VIEW], request.match_info["model"], request.query
    if name not in view.models():
        return no_model(request)
    version, window, segment = query.get("version", ""), query.get("window", ""), query.get("segment", "")
    return answer({"records": view.open_windows.of(name, version, window, segment)})


@routes.get("/api/v1/models/{model:[^/]+}/features")
async def features(request: web.Request) -> web.Response:
    series, limit = _series(request), read_limit(request, answers.WINDOWS_AT_ONCE)
    if isinstance(series, web.Response):
        return series
    if isinstance(limit, web.Response):
        return limit
    query, name = request.query, series.name
    measure = query.get("measure", LIMITS)
    if measure not in (LIMITS, *MEASURES):
        return problem(400, f"measure {measure!r} is none of {', '.join((LIMITS, *MEASURES))}")
    starts = list(series.between(query.get("from", ""), query.get("to", "")))
    shown = {start: series.raw[start] for start in (starts[-limit:] if limit else [])}
    held = answers.limits(request.app[VIEW], name.model, name.version, name.window)["limits"]
    return answer(feature_history(shown, held, measure))


@routes.get("/api/v1/models/{model:[^/]+}/restatements")
async def restatements(request: web.Request) -> web.Response:
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    return answer(answers.restatements(series, request.query.get("from", ""), request.query.get("to", "")))


@routes.get("/api/v1/models/{model:[^/]+}/segments")
async def segments(request: web.Request) -> web.Response:
    query, name = request.query, request.match_info["model"]
    start = query.get("window_start", "")
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    if not start:
        return problem(400, "say which window: &window_start=TIME; .../windows lists them")
    return json_answer(answers.segments(request.app[VIEW], name, series.name.version, series.name.window, start))


@routes.get("/api/v1/models/{model:[^/]+}/comparisons")
async def comparisons(request: web.Request) -> web.Response:
    view, name = request.app[VIEW], request.match_info["model"]
    return json_answer(answers.comparisons(view, name)) if name in view.models() else no_model(request)


@routes.get("/api/v1/models/{model:[^/]+}/limits")
async def limits(request: web.Request) -> web.Response:
    series = _series(request)
    if isinstance(series, web.Response):
        return series
    name = request.match_info["model"]
    return answer(answers.limits(request.app[VIEW], name, series.name.version, series.name.window))


@routes.get("/api/v1/models/{model:[^/]+}/distributions")
async def distributions(request: web.Request) -> web.Response:
    view, name = request.app[VIEW], request.match_info["model"]
    if name not in view.models():
        return no_model(request)
    return answer(answers.distributions(view, name, request.query.get("version", "")))


def _series(request: web.Request) -> Series | web.Response:
    """The windows that a request names, or the answer that says what is wrong with their name."""
    view, name, query = request.app[VIEW], request.match_info["model"], request.query
    if name not in view.models():
        return no_model(request)
    version, window = query.get("version", ""), query.get("window", "")
    if not version or not window:
        return problem(400, "say which windows: ?version=VERSION&window=LENGTH; /api/v1/models/MODEL lists them")
    found = view.windows.find(name, version, window, query.get("segment", ""))
    return found or problem(
        404, f"{name} has no windows of {window} of version {version} there; /api/v1/models/{name} lists them"
    )
