"""Configures the log of a worker: text for people, or JSON lines for machines."""

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
"""Given by name, since a supervisor also logs but does not load the client."""


_CLIENTS = ("aiokafka", "faust", "mode", "kafka")
_AWAY = frozenset(
    ("KafkaConnectionError", "NodeNotReadyError", "RequestTimedOutError", "ConnectionError", "ConnectionRefusedError")
)
_CANNOT_REACH = ("Unable connect to node", "Unable to update metadata", "Unable to request metadata")
AGAIN_SECONDS = 60.0
MAX_TEXTS = 1000


class PassingErrorFilter(logging.Filter):
    """Drops temporary errors that aiokafka logs although it tries again, such as those of a broker with a new topic."""

    def filter(self, record: logging.LogRecord) -> bool:
        given = record.args if isinstance(record.args, tuple) else (record.args,)
        return not (record.name.startswith("aiokafka.") and any(type(arg).__name__ in _PASSING for arg in given))


class RepeatedMessageFilter(logging.Filter):
    """Passes only one of equal messages of the Kafka client each minute, with the number of those it dropped: while a broker is
    unavailable, there are ten a second. All messages that say that a broker cannot be reached count as equal."""

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


class TraceIdFilter(logging.Filter):
    """Adds the ids of the current span, if there is one, to a log record under their names in the Elastic Common Schema."""

    def filter(self, record: logging.LogRecord) -> bool:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            setattr(record, "trace.id", f"{context.trace_id:032x}")
            setattr(record, "span.id", f"{context.span_id:016x}")
        return True


def set_up(log_format: str) -> None:
    """Log to standard error in ``log_format``: "json" (lines in the Elastic Common Schema) or "text"."""
    handler = logging.StreamHandler(sys.stderr)
    plain = logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    handler.setFormatter(_ecs() if log_format == "json" else plain)
    handler.addFilter(PassingErrorFilter())
    handler.addFilter(RepeatedMessageFilter())
    handler.addFilter(TraceIdFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("aiokafka", "faust", "mode", "kafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Faust warns about settings that do not matter without acknowledgements.
    logging.getLogger("faust.transport.consumer").setLevel(logging.ERROR)
    # Stopping a worker cancels its agents, which Faust reports as crashes.
    logging.getLogger("faust.agents.actor").setLevel(logging.CRITICAL)
    logging.getLogger("faust.agents.agent").setLevel(logging.CRITICAL)
    logging.getLogger("tidegauge.stream.transport").setLevel(logging.WARNING)
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.ERROR)


def _ecs() -> logging.Formatter:
    """A formatter with the names of the Elastic Common Schema, so that Elasticsearch and OpenSearch need no conversion."""
    from ecs_logging import StdlibFormatter

    service = {"service.name": "tidegauge", "service.version": tidegauge.__version__}
    formatter: logging.Formatter = StdlibFormatter(
        extra=service, exclude_fields=["log.original", "log.origin", "process.thread"]
    )
    return formatter


def set_up_for_people() -> None:
    """Configure the log of other commands: they print only warnings, as plain text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(PassingErrorFilter())
    handler.addFilter(RepeatedMessageFilter())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[handler], force=True)
