"""Converts comparison records to samples for Prometheus, like ``window_samples.py`` for metrics records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from tidegauge.prometheus.window_samples import WindowSample
from tidegauge.rollout.verdict import Decision

BASE = ("model", "model_version", "champion", "monitor", "window")
"""The labels that every sample has. ``model_version``: the challenger."""


def rollout_samples(record: Mapping[str, Any]) -> Iterator[WindowSample]:
    """The verdicts (1 for the current one, 0 for the others), and the difference of each metric (challenger minus champion)
    with the bounds of its confidence sequence, in base units.

    >>> of = {"model": "m", "model_version": "m:2", "champion": "m:1", "monitor": "canary", "window": "1d", "windows": 3,
    ...       "verdict": "promote", "metrics": {"system.latency_ms.mean": {"difference": 2.0, "interval": [-1.0, 5.0]}}}
    >>> [(s.name.removeprefix("tidegauge_rollout_"), s.value) for s in rollout_samples(of)][3:]
    [('windows', 3.0), ('latency_seconds_difference', 0.002), ('latency_seconds_low', -0.001), ('latency_seconds_high', 0.005)]
    """
    base = {name: record[name] for name in BASE}
    for verdict in get_args(Decision):
        yield WindowSample("tidegauge_rollout_verdict", base | {"verdict": verdict}, float(record["verdict"] == verdict))
    yield WindowSample("tidegauge_rollout_windows", base, float(record["windows"]))
    for path, of in record["metrics"].items():
        name, more, scale = _named(path)
        for suffix, value in zip(("difference", "low", "high"), (of["difference"], *of["interval"]), strict=True):
            yield WindowSample(f"tidegauge_rollout_{name}_{suffix}", base | more, value / scale)


def _named(path: str) -> tuple[str, dict[str, str], float]:
    """The name of a metric path in Prometheus, its additional labels, and the number of the metric's units in one base unit."""
    if path.startswith("business."):
        return "business", {"kpi": path.removeprefix("business.").removesuffix(".mean")}, 1.0
    if path == "system.latency_ms.mean":
        return "latency_seconds", {}, 1000.0
    return path.partition(".")[2].removesuffix(".mean").replace(".", "_"), {}, 1.0
