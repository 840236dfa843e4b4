"""The numbers of a record about the serving system: errors, throughput, latency, cost and resources."""

from __future__ import annotations

from typing import Any

from tidegauge.profile.data import RESOURCES, DataProfile


def system(data: DataProfile, seconds: float | None) -> dict[str, Any]:
    """Error ratio, throughput, latency quantiles (milliseconds), cost and the resources of the serving processes. ``seconds``:
    the window's length."""
    numbers: dict[str, Any] = {}
    if data.predictions:
        numbers["error_ratio"] = data.errors / data.predictions
    if seconds:
        numbers["predictions_per_second"] = data.predictions / seconds
    row = data.results.index("latency_ms")
    latencies = [] if row is None else data.results.values.at(row, (0.5, 0.95, 0.99))
    if latencies:
        numbers["latency_ms"] = dict(zip(("p50", "p95", "p99"), latencies, strict=True))
    row = data.results.index("cost")
    if row is not None and data.results.count[row]:
        mean = float(data.results.mean[row])
        numbers["cost"] = {"sum": mean * int(data.results.count[row]), "mean": mean}
    for name in RESOURCES:
        row = data.results.index(name)
        if row is not None and data.results.count[row]:
            middle, upper = data.results.values.at(row, (0.5, 0.95))
            numbers[name] = {"p50": middle, "p95": upper, "max": float(data.results.high[row])}
    return numbers
