"""ASGI middleware (FastAPI, Starlette, Litestar): a handler fills ``request.state.prediction``, everything else is automatic.

app.add_middleware(PredictionLog, logger=log)

@app.post("/predict")
def predict(request: Request, features: dict):
    request.state.prediction = {"features": features, "prediction": 1, "score": 0.83}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from tidegauge_logger.async_logger import AsyncLogger
from tidegauge_logger.exchange import REQUEST_ID, Exchange
from tidegauge_logger.logger import Logger

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
_MARK = "tidegauge.exchange"


class PredictionLog:
    """Logs a prediction for each request whose handler fills ``request.state.prediction`` with members of the event, and the
    failures of those that predict.

    ``request_id`` is that of the header ``X-Request-ID`` or a new one; it is added to the response and is available as
    ``request.state.request_id``. ``ts``, ``latency_ms`` (until the end of the response is passed to the server), ``error`` (an
    exception, a cancelled request or a status 5xx) and the trace are filled in automatically unless the handler gives them.
    ``logger``: None makes one from the environment. ``paths``: prefixes of the paths that predict, whose failures are logged
    even if the handler filled in nothing; None means the failures of POST, PUT and PATCH requests.
    """

    def __init__(
        self, app: Application, logger: Logger | AsyncLogger | None = None, paths: Sequence[str] | None = None
    ) -> None:
        self.app = app
        chosen = Logger.from_env() if logger is None else logger
        self.logger = chosen.logger if isinstance(chosen, AsyncLogger) else chosen
        self._paths = paths

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._flushing(send))
            return
        # If an application and its sub-application both have this middleware, the outer one logs.
        if scope["type"] != "http" or _MARK in scope:
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        exchange = Exchange(
            scope["method"], scope["path"], headers.get(b"x-request-id"), headers.get(b"traceparent"), self._paths
        )
        state: Any = dict(scope.get("state") or {})
        state["request_id"] = exchange.request_id
        scope = {**scope, "state": state, _MARK: exchange}

        async def sending(message: Message) -> None:
            kind = message["type"]
            if kind == "http.response.start":
                exchange.status = message["status"]
                others = [(name, value) for name, value in message.get("headers", ()) if name.lower() != REQUEST_ID.encode()]
                shown = exchange.shown(state.get("prediction"))
                message = {**message, "headers": [*others, (REQUEST_ID.encode(), shown.encode())]}
            if kind in ("http.response.body", "http.response.pathsend") and not message.get("more_body", False):
                # Background tasks of the response, and slow clients, must not count as the model's latency.
                exchange.log(self.logger.prediction, state.get("prediction"))
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except BaseException as error:
            exchange.log(self.logger.prediction, state.get("prediction"), error)
            raise
        exchange.log(self.logger.prediction, state.get("prediction"))

    def _flushing(self, send: Send) -> Send:
        """Wrap ``send`` so that logged events are sent before the server learns that the application has shut down. A server
        that ends by its signal, such as uvicorn, runs no exit handlers."""

        async def sending(message: Message) -> None:
            if message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                # Nothing else is left to do, so blocking does not matter.
                self.logger.flush()
            await send(message)

        return sending
