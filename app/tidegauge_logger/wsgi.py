"""WSGI middleware (Flask, Django): a handler fills ``environ["tidegauge.prediction"]``, everything else is automatic.

app.wsgi_app = PredictionLog(app.wsgi_app, log)                  # Flask: request.environ["tidegauge.prediction"] = {...}
application = PredictionLog(get_wsgi_application(), log)         # Django: request.META["tidegauge.prediction"] = {...}
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tidegauge_logger.exchange import REQUEST_ID, Exchange
from tidegauge_logger.logger import Logger

PREDICTION, ID = "tidegauge.prediction", "tidegauge.request_id"
"""Keys of the environment: the members that the handler fills in, and the request id that it may return to its client."""


class PredictionLog:
    """Logs a prediction for each request whose handler fills ``environ["tidegauge.prediction"]`` with members of the event, and
    failures of requests that predict. Everything else is as in ``tidegauge_logger.asgi.PredictionLog``."""

    def __init__(
        self, app: Callable[..., Iterable[bytes]], logger: Logger | None = None, paths: Sequence[str] | None = None
    ) -> None:
        self.app, self.logger = app, Logger.from_env() if logger is None else logger
        self._paths = paths

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if ID in environ:
            return self.app(environ, start_response)
        exchange = Exchange(
            environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""),
            environ.get("HTTP_X_REQUEST_ID"), environ.get("HTTP_TRACEPARENT"), self._paths,
        )  # fmt: skip
        environ[ID] = exchange.request_id

        def starting(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            exchange.status = int(status[:3])
            others = [(name, value) for name, value in headers if name.lower() != REQUEST_ID]
            return start_response(status, [*others, ("X-Request-ID", exchange.shown(environ.get(PREDICTION)))], *exc_info)

        try:
            body = self.app(environ, starting)
        except BaseException as error:
            exchange.log(self.logger.prediction, environ.get(PREDICTION), error)
            raise
        return _Body(body, exchange, self.logger, environ)


class _Body:
    """The body of a response, which logs the prediction once it is complete."""

    def __init__(self, body: Iterable[bytes], exchange: Exchange, logger: Logger, environ: dict[str, Any]) -> None:
        self._body, self._exchange, self._logger, self._environ = body, exchange, logger, environ

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except BaseException as error:
            # A client that disconnects closes the generator, but the prediction was made.
            self._log(None if isinstance(error, GeneratorExit) else error)
            raise
        self._exchange.responded()

    def close(self) -> None:
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._log()

    def _log(self, error: BaseException | None = None) -> None:
        self._exchange.log(self._logger.prediction, self._environ.get(PREDICTION), error)
