"""Exports the metrics of the page /metrics by OTLP over HTTP as well, if OpenTelemetry's environment variables ask for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric, Sample

from tidegauge.errors import StreamError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import export

log = logging.getLogger(__name__)
ENDPOINT, EXPORTER = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_METRICS_EXPORTER"
"""OpenTelemetry's variables: the address for metrics, and the exporter, which is ``otlp`` if the address for all signals is to
be used."""
INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
LAST_SECONDS = 1.0
"""The most seconds that sending the final values may take."""


def asked_for() -> bool:
    """Whether the environment asks for metrics by OTLP; OTEL_EXPORTER_OTLP_ENDPOINT alone only asks for spans."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get(EXPORTER) == "none":
        return False
    return os.environ.get(EXPORTER) == "otlp" or bool(os.environ.get(ENDPOINT))


async def start(registry: CollectorRegistry, port: int) -> Callable[[], Coroutine[Any, Any, None]]:
    """Send the metrics of ``registry`` at each interval from this event loop; return a function that sends them a last time and
    stops. ``port``: the port of the process's pages, which identifies it on its host. Raises StreamError if the extra is not
    installed."""
    if not asked_for():
        return _nothing
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.resources import Resource
    except ImportError as error:
        raise StreamError(f"{ENDPOINT} is set but not what sends metrics: pip install 'tidegauge[otlp]'") from error
    attributes = {"service.instance.id": f"{socket.gethostname()}:{port}"}
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "tidegauge"}
    resource = Resource.create(attributes | named)
    exporter = OTLPMetricExporter()
    seconds = float(os.environ.get(INTERVAL) or 60_000) / 1000

    async def send() -> None:
        # The values may only be read in this event loop; only the request runs in another thread.
        data = as_otlp(registry.collect(), resource.attributes, time.time_ns())
        await _in_daemon(lambda: exporter.export(data))

    async def send_again_and_again() -> None:
        while True:
            try:
                await send()
            except Exception:
                # A failing receiver of metrics must not stop this process.
                log.exception("metrics are not sent")
            await asyncio.sleep(seconds)

    work = asyncio.create_task(send_again_and_again())

    async def stop() -> None:
        work.cancel()
        await asyncio.wait([work])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await send()
        exporter.shutdown()

    return stop


async def _nothing() -> None:
    pass


async def _in_daemon(call: Callable[[], object]) -> None:
    """Wait for ``call`` in a daemon thread, since an unavailable collector may block it for a long time."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def finish() -> None:
        if not done.done():
            done.set_result(None)

    def run() -> None:
        try:
            call()
        finally:
            # The loop may be closed by now.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(finish)

    threading.Thread(target=run, name="otlp", daemon=True).start()
    await done


def as_otlp(families: Iterable[Metric], resource: Mapping[str, Any], now: int) -> export.MetricsData:
    """Convert the families of a Prometheus registry to OpenTelemetry: counters become cumulative sums, histograms keep their
    bounds, everything else becomes a gauge; the names stay. ``now``: nanoseconds since 1970.

    Counters of events continue after a restart, so their start time is unknown (0) unless the client gives it.
    """
    from opentelemetry.sdk.metrics import export
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = [
        export.Metric(name=name, description=family.documentation, unit=family.unit, data=data)
        for family in families
        for name, data in _data(family, now)
    ]
    scope = export.ScopeMetrics(scope=InstrumentationScope("tidegauge"), metrics=metrics, schema_url="")
    return export.MetricsData([export.ResourceMetrics(resource=Resource(resource), scope_metrics=[scope], schema_url="")])


def _data(family: Metric, now: int) -> Iterator[tuple[str, Any]]:
    """The data of a family by name: usually one pair, but several for a gauge whose samples have several names."""
    from opentelemetry.sdk.metrics import export

    cumulative = export.AggregationTemporality.CUMULATIVE
    began = {_key(s): int(s.value * 1e9) for s in family.samples if s.name == f"{family.name}_created"}
    samples = [s for s in family.samples if s.name != f"{family.name}_created"]
    if family.type == "histogram":
        histograms = [_histogram(labels, of, began.get(labels, 0), now) for labels, of in _by_labels(samples).items()]
        if histograms:
            yield family.name, export.Histogram(data_points=histograms, aggregation_temporality=cumulative)
        return
    named: dict[str, list[export.NumberDataPoint]] = {}
    for sample in samples:
        name = family.name if family.type == "counter" else sample.name
        since = began.get(_key(sample), 0) if family.type == "counter" else 0
        named.setdefault(name, []).append(export.NumberDataPoint(sample.labels, since, now, float(sample.value)))
    for name, points in named.items():
        if family.type == "counter":
            yield name, export.Sum(data_points=points, aggregation_temporality=cumulative, is_monotonic=True)
        else:
            yield name, export.Gauge(data_points=points)


def _key(sample: Sample) -> frozenset[tuple[str, str]]:
    return frozenset((name, value) for name, value in sample.labels.items() if name != "le")


def _by_labels(samples: Iterable[Sample]) -> dict[frozenset[tuple[str, str]], list[Sample]]:
    found: dict[frozenset[tuple[str, str]], list[Sample]] = {}
    for sample in samples:
        found.setdefault(_key(sample), []).append(sample)
    return found


def _histogram(labels: frozenset[tuple[str, str]], samples: list[Sample], since: int, now: int) -> Any:
    """A histogram data point. Prometheus counts the values up to each bound, OpenTelemetry those between two bounds."""
    from opentelemetry.sdk.metrics import export

    up_to = sorted((float(s.labels["le"]), s.value) for s in samples if s.name.endswith("_bucket"))
    counts = [count - below for (_, count), below in zip(up_to, [0.0, *(count for _, count in up_to)], strict=False)]
    total = next((s.value for s in samples if s.name.endswith("_sum")), 0.0)
    return export.HistogramDataPoint(
        attributes=dict(labels),
        start_time_unix_nano=since,
        time_unix_nano=now,
        count=int(up_to[-1][1]),
        sum=total,
        bucket_counts=[int(count) for count in counts],
        explicit_bounds=[bound for bound, _ in up_to[:-1]],
        min=None,  # type: ignore[arg-type]
        max=None,  # type: ignore[arg-type]
    )
