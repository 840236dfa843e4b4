"""An OpenTelemetry collector's receiver of metrics: OTLP over HTTP, in protobuf."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from support.http_receiver import Answer, HttpReceiver


def attributes(of: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in of.attributes}


class MetricsReceiver(HttpReceiver):
    """Keeps the (resource, metrics by name) of each request; ``url`` is where metrics go."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        super().__init__()
        self.url += "/v1/metrics"

    def take(self, path: str, body: bytes) -> Answer:
        for of in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            metrics = {metric.name: metric for scope in of.scope_metrics for metric in scope.metrics}
            self.requests.append((attributes(of.resource), metrics))
        return Answer(ExportMetricsServiceResponse().SerializeToString(), content_type="application/x-protobuf")


def as_prometheus(metrics: dict[str, Any]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Value by (sample name, labels), as Prometheus would have them: counters end in ``_total``, buckets are cumulative."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for name, metric in metrics.items():
        kind = metric.WhichOneof("data")
        for point in getattr(metric, kind).data_points:
            labels = frozenset(attributes(point).items())
            if kind == "histogram":
                found[f"{name}_count", labels], found[f"{name}_sum", labels] = point.count, point.sum
                for number, bound in enumerate([*point.explicit_bounds, float("inf")]):
                    le = ("le", "+Inf" if bound == float("inf") else str(bound))
                    found[f"{name}_bucket", labels | {le}] = sum(point.bucket_counts[: number + 1])
            else:
                found[name + ("_total" if kind == "sum" else ""), labels] = point.as_double
    return found
