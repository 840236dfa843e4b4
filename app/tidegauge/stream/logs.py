"""Logging of a worker: text for people, JSON lines for machines."""

from __future__ import annotations

import logging
import math
import sys

from opentelemetry import trace

import tidegauge

_PASSING = frozenset(
    (
        "CoordinatorLoadInProgressError",
        "CoordinatorNotAvailableError",
        "NotLeaderForPartitionError",
        "UnknownTopicOrPartitionError",
    )
)
"""By name: a supervisor logs, and does without the client."""


_CLIENTS = ("aiokafka", "faust", "mode", "kafka")
_AWAY = frozenset(
    ("KafkaConnectionError", "NodeNotReadyError", "RequestTimedOutError", "ConnectionError", "ConnectionRefusedError")
)
_CANNOT_REACH = ("Unable connect to node", "Unable to update metadata", "Unable to request metadata")
AGAIN_SECONDS = 60.0
MAX_TEXTS = 1000


class DropsPassingErrors(logging.Filter):
    """Drops what aiokafka reports as errors and then retries: a broker that is still getting to know a new topic."""

    def filter(self, record: logging.LogRecord) -> bool:
        given = record.args if isinstance(record.args, tuple) else (record.args,)
        return not (record.name.startswith("aiokafka.") and any(type(arg).__name__ in _PASSING for arg in given))


class SaysItOnceAMinute(logging.Filter):
    """Of what the client says again and again, ten times a second while a broker is away, lets one line a minute pass, with the
    number of those left out. All that says that a broker cannot be reached is one; else what has the same text is."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_CLIENTS):
            return True
        given = record.args if isinstance(record.args, tuple) else (record.args,)
        away = any(type(arg).__name__ in _AWAY for arg in given) or str(record.msg).startswith(_CANNOT_REACH)
        key = ("away",) if away else (record.name, str(record.msg))
        at, left_out = self._said.get(key, (-math.inf, 0))
        if record.created - at < AGAIN_SECONDS:
            self._said[key] = (at, left_out + 1)
            return False
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} lines like it since the last)", None
        if len(self._said) >= MAX_TEXTS:
            self._said.clear()
        self._said[key] = (record.created, 0)
        return True


class AddsTraceIds(logging.Filter):
    """Gives a record logged within a span the span's ids, under their ECS names."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            setattr(record, "trace.id", f"{context.trace_id:032x}")
            setattr(record, "span.id", f"{context.span_id:016x}")
        return True


def set_up(log_format: str) -> None:
    """Log to standard error in ``log_format``: "json" (a line of ECS members each) or "text"."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_ecs() if log_format == "json" else plain)
    handler.addFilter(DropsPassingErrors())
    handler.addFilter(SaysItOnceAMinute())
    handler.addFilter(AddsTraceIds())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("aiokafka", "faust", "mode", "kafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Faust warns of every setting that an agent without acknowledgements leaves untouched.
    logging.getLogger("faust.transport.consumer").setLevel(logging.ERROR)
    # Stopping cancels the agents, which Faust reports as crashes.
    logging.getLogger("faust.agents.actor").setLevel(logging.CRITICAL)
    logging.getLogger("faust.agents.agent").setLevel(logging.CRITICAL)
    logging.getLogger("tidegauge.stream.transport").setLevel(logging.WARNING)
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.ERROR)


def _ecs() -> logging.Formatter:
    """Names of the Elastic Common Schema, so that Elasticsearch and OpenSearch take the lines as they are."""
    from ecs_logging import StdlibFormatter

    service = {"service.name": "tidegauge", "service.version": tidegauge.__version__}
    formatter: logging.Formatter = StdlibFormatter(
        extra=service, exclude_fields=["log.original", "log.origin", "process.thread"]
    )
    return formatter


def set_up_for_people() -> None:
    """Commands other than the worker print warnings only, plainly; what fails in the end is raised."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(DropsPassingErrors())
    handler.addFilter(SaysItOnceAMinute())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[handler], force=True)
