"""Metrics of loggers for Prometheus, if the service has its client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from tidegauge_logger.counters import REASONS

if TYPE_CHECKING:
    from tidegauge_logger.logger import Logger

_registered: list[Any] = []


def register(loggers: Iterable[Logger]) -> None:
    """Add metrics, summed over all loggers of this process, to the default registry once, if the client library is
    installed."""
    if _registered:
        return
    try:
        from prometheus_client import REGISTRY
    except ImportError:
        return
    _registered.append(_Collector(loggers))
    REGISTRY.register(_registered[0])


class _Collector:
    def __init__(self, loggers: Iterable[Logger]) -> None:
        self._loggers = loggers

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        loggers = list(self._loggers)
        for name, text, count in (
            ("tidegauge_logger_events", "Events taken", sum(one.counters.accepted for one in loggers)),
            ("tidegauge_logger_sent", "Events that Kafka has", sum(one.counters.sent for one in loggers)),
        ):
            yield CounterMetricFamily(name, text, value=count)
        dropped = CounterMetricFamily("tidegauge_logger_dropped", "Events that will not arrive", labels=["reason"])
        for reason in REASONS:
            dropped.add_metric([reason], sum(one.counters.dropped[reason] for one in loggers))
        yield dropped
        waiting = sum(one.buffered_bytes for one in loggers)
        yield GaugeMetricFamily("tidegauge_logger_buffer_bytes", "Memory of events that wait", value=waiting)
        spooled = max((one.spooled_bytes for one in loggers), default=0)
        yield GaugeMetricFamily("tidegauge_logger_spool_bytes", "The spool's directory, when last looked at", value=spooled)
