"""Converts metrics records to samples for Prometheus: maps their members to metric names, labels and base units.

``/metrics`` shows the newest closed windows under these names. ``tidegauge history`` writes every revision of every window
under names that are derived from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tidegauge.profile.data import RESOURCES
from tidegauge.spec import segment_name

BASE = ("model", "model_version", "window", "segment")
"""The labels that every sample has."""
_SIMPLE = (
    ("system", "error_ratio", "tidegauge_system_error_ratio"),
    ("system", "predictions_per_second", "tidegauge_system_predictions_per_second"),
    ("prediction", "mean_score", "tidegauge_prediction_mean_score"),
    ("prediction", "mean_confidence", "tidegauge_prediction_mean_confidence"),
    ("prediction", "psi", "tidegauge_prediction_psi"),
    ("prediction", "shift", "tidegauge_prediction_shift"),
    ("prediction", "mix_shift", "tidegauge_prediction_mix_shift"),
    ("label_mix", "mix_shift", "tidegauge_label_mix_shift"),
    ("prediction", "positive_ratio", "tidegauge_prediction_positive_ratio"),
    ("prediction", "abstain_ratio", "tidegauge_prediction_abstain_ratio"),
    ("attribution_ranking", "rank_correlation", "tidegauge_attribution_rank_correlation"),
)
_ESTIMATED = ("accuracy", "precision", "recall", "f1", "roc_auc")
_BUSINESS = ("mean", "sum", "ratio", "relative_to_baseline", "winsorised_mean")
_FEATURE = (
    "psi", "ks", "shift", "mix_shift", "missing_shift", "missing_ratio", "type_mismatch_ratio", "out_of_range_ratio",
    "unseen_ratio", "mean",
)  # fmt: skip


class WindowSample(NamedTuple):
    """One number of a window. ``labels``: first ``BASE``, then those that distinguish it from other samples of the same
    name."""

    name: str
    labels: dict[str, str]
    value: float


def window_samples(record: Mapping[str, Any]) -> Iterator[WindowSample]:
    """All numbers of a metrics record that have a name in Prometheus; none for a record of another ``kind``.

    >>> record = {"model": "m", "model_version": "m:1", "window": "1h", "segment": {}, "predictions": 3, "coverage": 0.5,
    ...           "system": {"latency_ms": {"p50": 12.0}}}
    >>> [(sample.name, sample.value) for sample in window_samples(record)]
    [('tidegauge_window_predictions', 3.0), ('tidegauge_window_coverage', 0.5), ('tidegauge_system_latency_seconds', 0.012)]
    """
    if "kind" in record:
        return
    base = {name: record[name] for name in BASE} | {"segment": segment_name(record["segment"])}
    for name, more, value in _numbers(record):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield WindowSample(name, base | more, float(value))


def _numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    for member in ("predictions", "labels", "coverage", "expected_coverage"):
        yield f"tidegauge_window_{member}", {}, record.get(member)
    for group, member, metric in _SIMPLE:
        yield metric, {}, record.get(group, {}).get(member)
    system = record.get("system", {})
    for name, quantile in (("p50", "0.5"), ("p95", "0.95"), ("p99", "0.99")):
        value = system.get("latency_ms", {}).get(name)
        yield "tidegauge_system_latency_seconds", {"quantile": quantile}, None if value is None else value / 1000
    for name in RESOURCES:
        for member, quantile in (("p50", "0.5"), ("p95", "0.95"), ("max", "1")):
            yield f"tidegauge_system_{name}", {"quantile": quantile}, system.get(name, {}).get(member)
    yield "tidegauge_system_cost", {}, system.get("cost", {}).get("sum")
    for feature, of in record.get("data", {}).get("features", {}).items():
        for member in _FEATURE:
            yield f"tidegauge_feature_{member}", {"feature": feature}, of.get(member)
    for dimension, of in record.get("data", {}).get("segments", {}).items():
        yield "tidegauge_segment_mix_psi", {"dimension": dimension}, of.get("psi")
    for feature, of in record.get("attributions", {}).items():
        yield "tidegauge_attribution_mean_abs", {"feature": feature}, of["mean_abs"]
        yield "tidegauge_attribution_psi", {"feature": feature}, of.get("psi")
    for member, value in record.get("performance", {}).items():
        yield f"tidegauge_performance_{member}", {}, value
    for member in _ESTIMATED:
        yield f"tidegauge_estimated_{member}", {}, record.get("estimated", {}).get(member)
    yield from _limits("tidegauge_performance", {}, record.get("performance_interval", {}))
    for member, value in record.get("calibration", {}).items():
        yield f"tidegauge_calibration_{member}", {}, value
    if not record["segment"]:
        for of in record.get("calibration", {}).get("bins", ()):
            labels = {"scores": f"{of['low']:g}-{of['high']:g}"}
            yield "tidegauge_calibration_bin_mean_score", labels, of["mean_score"]
            yield "tidegauge_calibration_bin_positive_ratio", labels, of["positive_ratio"]
    for kpi, of in record.get("business", {}).items():
        for member in _BUSINESS:
            # The suffix _sum is reserved for histograms.
            yield f"tidegauge_business_{'amount' if member == 'sum' else member}", {"kpi": kpi}, of.get(member)
        yield from _limits("tidegauge_business", {"kpi": kpi}, of.get("interval", {}))
    for dimension, gaps in record.get("fairness", {}).items():
        for member, value in gaps.items():
            yield f"tidegauge_fairness_{member}", {"dimension": dimension}, value


def _limits(prefix: str, labels: dict[str, str], intervals: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str], Any]]:
    """The two bounds of each 95 % interval, each under a name of its own."""
    for member, of in intervals.items():
        if not isinstance(of, Mapping):
            yield f"{prefix}_{member}_low", labels, of[0]
            yield f"{prefix}_{member}_high", labels, of[1]
