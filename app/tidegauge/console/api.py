"""The routes of the HTTP API, `/api/v1`. They read the view; only acknowledging, silencing, noting and rolling back
change anything."""

from __future__ import annotations

from tidegauge.console import (
    alert_routes,
    incident_operation_routes,
    model_routes,
    operation_routes,
    rollback_routes,
    session_routes,
)

routes = [
    *model_routes.routes, *alert_routes.routes, *operation_routes.routes, *incident_operation_routes.routes,
    *rollback_routes.routes, *session_routes.routes,
]  # fmt: skip
