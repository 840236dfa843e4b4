"""OpenTelemetry spans of checkpoints and restores. Nothing is sent unless OpenTelemetry's environment variables ask for it."""

from __future__ import annotations

import os
from collections.abc import Callable

from opentelemetry import trace

from tidegauge.errors import StreamError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""OpenTelemetry's variables; either of them turns the exporter on."""
tracer = trace.get_tracer("tidegauge")


def set_up(instance: str) -> Callable[[], None]:
    """Send spans by OTLP over HTTP if an endpoint is set; return a function that sends the remaining ones at the end.
    ``instance``: identifies this process. Raises StreamError if the extra is not installed."""
    if not any(map(os.environ.get, ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise StreamError(f"{ENDPOINTS[0]} is set but not what sends spans: pip install 'tidegauge[tracing]'") from error
    attributes = {"service.instance.id": instance} | (
        {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "tidegauge"}
    )
    provider = TracerProvider(resource=Resource.create(attributes))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return provider.shutdown
