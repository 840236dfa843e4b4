"""One HTTP request and its prediction: the common part of the ASGI and WSGI middleware."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any

from tidegauge_logger.events import MAX_ID_LENGTH
from tidegauge_logger.request_ids import new_request_id

REQUEST_ID = "x-request-id"
_CHANGING = frozenset(("POST", "PUT", "PATCH"))


class Exchange:
    """One request. ``request_id``, ``traceparent``: the request's headers, None without them. ``paths``: prefixes of the paths
    whose failures count as failed predictions, whatever the method. For other paths only what a handler has filled in is
    logged; without ``paths`` (None), failures of POST, PUT and PATCH requests are logged as well."""

    def __init__(
        self, method: str, path: str, request_id: str | None, traceparent: str | None, paths: Sequence[str] | None
    ) -> None:
        self.request_id = request_id if request_id is not None and _sound(request_id) else new_request_id()
        self.status = 0
        self._predicts = method in _CHANGING if paths is None else path.startswith(tuple(paths))
        self._traceparent = traceparent or _current_trace()
        self._began, self._ts = time.perf_counter(), time.time()
        self._latency_ms: float | None = None
        self._logged = False

    def shown(self, filled: Any) -> str:
        """The request id for the response: the one that the handler filled in, if any."""
        own = filled.get("request_id") if isinstance(filled, Mapping) else None
        return own if isinstance(own, str) and _sound(own) else self.request_id

    def responded(self) -> None:
        """Note that the response is complete, so that later time does not count as latency."""
        if self._latency_ms is None:
            self._latency_ms = (time.perf_counter() - self._began) * 1000

    def log(self, prediction: Callable[..., str], filled: Any, error: BaseException | None = None) -> None:
        """Log what a handler has ``filled`` in, or its failure. Only the first call with something to log has an effect."""
        if self._logged:
            return
        self.responded()
        failed = error is not None or self.status >= 500
        events = _events(filled) or ([{}] if failed and self._predicts else [])
        self._logged = bool(events)
        for row, given in enumerate(events):
            members = {
                "request_id": self.request_id if len(events) == 1 else f"{self.request_id}-{row}", "ts": self._ts,
                "latency_ms": self._latency_ms, "traceparent": self._traceparent,
            } | given  # fmt: skip
            if failed and members.get("error") is None:
                members["error"] = f"HTTP {self.status}" if error is None else _told(error)
            prediction(**members)


def _events(filled: Any) -> list[dict[str, Any]]:
    """The members of each event that a handler filled in: one mapping, or one for each row of a batch. Anything else is taken
    for the prediction itself, so that the logger tells what it cannot use."""
    if filled is None or (isinstance(filled, Sized) and len(filled) == 0):
        return []
    rows = list(filled) if isinstance(filled, list | tuple) else [filled]
    if not all(isinstance(row, Mapping) for row in rows):
        rows = [{"prediction": filled}]
    return [{str(name): value for name, value in row.items()} for row in rows]


def _told(error: BaseException) -> str:
    kind = type(error).__name__
    return f"{kind}: {error}"[:500] if str(error) else kind


def _sound(request_id: str) -> bool:
    return 0 < len(request_id) <= MAX_ID_LENGTH and request_id.isascii() and request_id.isprintable()


def _current_trace() -> str | None:
    """The current trace of OpenTelemetry's instrumentation, if the service has it."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None
