"""An OpenTelemetry collector's receiver of metrics: OTLP over HTTP, in protobuf."""

from __future__ import annotations

import gzip
import http.server
import threading
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)


def attributes(of: Any) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in of.attributes}


class MetricsReceiver:
    """Keeps the (resource, metrics by name) of each request. Use as a context manager; ``url`` is where metrics go."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], dict[str, Any]]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                for of in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    metrics = {metric.name: metric for scope in of.scope_metrics for metric in scope.metrics}
                    receiver.requests.append((attributes(of.resource), metrics))
                answer = ExportMetricsServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1/metrics"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


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
