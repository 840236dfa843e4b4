"""Combines the windows of a period into its numbers: pooled exactly if possible, otherwise as a mean that is marked as such."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tidegauge.metrics.interval import Interval, positive, within_unit
from tidegauge.report.archive import Record

POOLED = frozenset(("accuracy", "brier", "log_loss", "mae", "bias", "rmse", "mape"))
"""Metrics that are means over labels. Their mean over windows, weighted by the number of labels, is exactly the value of the
period (for rmse: of its square)."""
RATIOS = frozenset(("accuracy", "precision", "recall", "f1", "roc_auc", "ece", "brier", "no_probability_ratio"))
LOSSES = frozenset(("log_loss", "mae", "rmse", "mape"))
OF_EVENTS = frozenset(("missing_ratio", "type_mismatch_ratio"))
"""Those ratios of a feature that are taken over all events; its other ratios and its mean are taken over its values."""
Z95 = 1.959963984540054


def weight_of(record: Record, group: str, name: str) -> float:
    """The number of predictions, or labels, over which ``record[group][name]`` is a mean."""
    if group == "performance":
        return int(record.get("performance_counts", {}).get(name, record["labels"]))
    weight = float(record["predictions"])
    if group == "prediction":
        weight *= 1 - record["system"].get("error_ratio", 0.0)
        if name not in ("abstain_ratio", "type_mismatch_ratio"):
            weight *= 1 - record["prediction"].get("abstain_ratio", 0.0)
    return weight


def pooled(records: Sequence[Record], group: str, name: str) -> float | None:
    """The mean of ``record[group][name]`` over windows, each weighted by ``weight_of``; None if no window has it."""
    square = name == "rmse"
    pairs = [
        (weight_of(record, group, name), record[group][name] ** 2 if square else record[group][name])
        for record in records
        if isinstance(record.get(group, {}).get(name), int | float)
    ]
    total = sum(count for count, _ in pairs)
    if not total:
        return None
    mean = sum(count * value for count, value in pairs) / total
    return math.sqrt(mean) if square else mean


def performance(records: Sequence[Record]) -> dict[str, dict[str, Any]]:
    """Each performance metric of the period: its ``value``, whether that is ``exact`` or a mean of windows, and, if the windows
    have intervals, the 95 % interval (``low``, ``high``) of that mean, assuming independent windows."""
    names = dict.fromkeys(
        n for record in records for n, v in record.get("performance", {}).items() if isinstance(v, int | float)
    )
    found = {}
    for name in names:
        value = pooled(records, "performance", name)
        if value is not None:
            exact = name in POOLED or sum(name in record.get("performance", {}) for record in records) == 1
            found[name] = {"value": value, "exact": exact} | _interval(records, name, value)
    return found


def _interval(records: Sequence[Record], name: str, value: float) -> dict[str, float]:
    weights, bounds = [], []
    for record in records:
        if name in record.get("performance", {}) and (weight := weight_of(record, "performance", name)):
            if name not in record.get("performance_interval", {}):
                return {}
            weights.append(weight)
            bounds.append(Interval(*record["performance_interval"][name]))
    if not weights:
        return {}
    total = sum(weights)
    variance = sum((w * (high - low) / (2 * Z95)) ** 2 for w, (low, high) in zip(weights, bounds, strict=True)) / total**2
    found = bounds[0] if len(bounds) == 1 else _around(name, value, variance, total)
    return {} if found is None else found._asdict()


def _around(name: str, value: float, variance: float, labels: float) -> Interval | None:
    """An interval around ``value`` within the range of the metric: ratios between 0 and 1, losses above 0, R² below 1. None if
    there is none."""
    if name in RATIOS:
        return within_unit(value, variance, labels)
    if name in LOSSES:
        return positive(value, variance, labels - 1)
    reach = Z95 * math.sqrt(variance)
    if name != "r2":
        return Interval(value - reach, value + reach)
    rest = positive(1 - value, variance, labels - 1)
    return None if rest is None else Interval(1 - rest.high, 1 - rest.low)


def traffic(records: Sequence[Record]) -> dict[str, Any]:
    """Predictions, labels, coverage, error ratio, cost, and the latency quantiles (milliseconds) of the worst window."""
    predictions, labels = (sum(record[name] for record in records) for name in ("predictions", "labels"))
    found: dict[str, Any] = {"predictions": predictions, "labels": labels}
    if predictions:
        found["coverage"] = labels / predictions
    unreadable = sum(round(record.get("unreadable_label_ratio", 0.0) * record["labels"]) for record in records)
    if unreadable:
        found["unreadable_labels"] = unreadable
    error_ratio = pooled(records, "system", "error_ratio")
    if error_ratio is not None:
        found["error_ratio"] = error_ratio
    for quantile in ("p50", "p95", "p99"):
        held = (record["system"].get("latency_ms", {}) for record in records)
        values = [of[quantile] for of in held if quantile in of]
        if values:
            found[f"latency_ms_{quantile}_worst"] = max(values)
    costs = [cost["sum"] for record in records if "sum" in (cost := record["system"].get("cost", {}))]
    if costs:
        found["cost"] = sum(costs)
    return found


def prediction(records: Sequence[Record]) -> dict[str, float]:
    """Means of score, confidence and value, the positive and abstain ratios, and the largest drift of the score."""
    found = {}
    for name in (
        "mean_score", "mean_confidence", "mean_value", "positive_ratio", "abstain_ratio", "type_mismatch_ratio",
    ):  # fmt: skip
        value = pooled(records, "prediction", name)
        if value is not None:
            found[name] = value
    drifts = [record["prediction"]["psi"] for record in records if "psi" in record.get("prediction", {})]
    return found | ({"psi_worst": max(drifts)} if drifts else {})


def features(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The profile of each feature, the one with the most drift first: count, ratios and mean pooled over the windows, extremes,
    and the windows in which its shift and its PSI were largest."""
    found: dict[str, dict[str, Any]] = {}
    for record in records:
        for name, of in record["data"]["features"].items():
            _add_feature(found.setdefault(name, {"feature": name, "count": 0}), of, record["window_start"])
    rows = [_feature(row) for row in found.values()]
    # If the bins came from a sketch there is a PSI but no shift.
    by = "shift" if all("shift" in row or "psi" not in row for row in rows) else "psi"
    return sorted(rows, key=lambda row: (-row.get(by, -1.0), row["feature"]))


def _add_feature(row: dict[str, Any], of: Mapping[str, Any], start: str) -> None:
    count = of.get("count", 0)
    row["count"] += count
    values = count * (1 - of.get("missing_ratio", 0.0) - of.get("type_mismatch_ratio", 0.0))
    for name in ("missing_ratio", "type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio", "mean"):
        if name in of:
            sums, weight = row.setdefault("_sums", {}).setdefault(name, [0.0, 0.0]), count if name in OF_EVENTS else values
            sums[0] += of[name] * weight
            sums[1] += weight
    for name, worst in (("min", min), ("max", max)):
        if name in of:
            row[name] = worst(row.get(name, of[name]), of[name])
    if of.get("psi", -1.0) > row.get("psi", -1.0):
        row["psi"], row["psi_window"] = of["psi"], start
        row["p_value"] = of.get("p_value")
    shift = of.get("shift", of.get("mix_shift", -1.0))
    if shift > row.get("shift", -1.0):
        row["shift"], row["shift_window"] = shift, start


def gaps(records: Sequence[Record]) -> list[dict[str, Any]]:
    """The largest gap of each dimension and measure between segments, the segment values with the smallest and the largest
    measure, and the window."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        for dimension, of in record.get("fairness", {}).items():
            for measure, between in of.get("extremes", {}).items():
                name = f"{measure}_gap"
                if of[name] > found.get((dimension, name), {"value": -1.0})["value"]:
                    found[dimension, name] = {
                        "dimension": dimension, "measure": name, "value": of[name], "p_value": of.get(f"{name}_p_value"),
                        "between": between, "window": record["window_start"],
                    }  # fmt: skip
    return list(found.values())


def _feature(row: dict[str, Any]) -> dict[str, Any]:
    sums = row.pop("_sums", {})
    return row | {name: total / count for name, (total, count) in sums.items() if count}


def business(records: Sequence[Record]) -> dict[str, dict[str, float]]:
    """Each KPI's sum, count and mean."""
    found: dict[str, dict[str, float]] = {}
    for record in records:
        for kpi, of in record.get("business", {}).items():
            if "sum" in of and "count" in of:
                row = found.setdefault(kpi, {"sum": 0.0, "count": 0})
                row["sum"] += of["sum"]
                row["count"] += of["count"]
    return {kpi: row | {"mean": row["sum"] / row["count"]} for kpi, row in found.items() if row["count"]}


def segments(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Traffic and performance of each segment value, ordered by dimension and then by size."""
    groups: dict[tuple[tuple[str, str], ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(record["segment"].items()), []).append(record)
    rows = [
        {"segment": dict(segment), **traffic(group), "performance": performance(group), "business": business(group)}
        for segment, group in groups.items()
    ]
    return sorted(rows, key=lambda row: (list(row["segment"]), -row["predictions"]))


def line(record: Record) -> dict[str, Any]:
    """The entry of one window in the report's list."""
    members = (
        "window_start",
        "window_end",
        "revision",
        "closed",
        "settled",
        "predictions",
        "labels",
        "coverage",
        "expected_coverage",
    )
    kept = {name: record[name] for name in members if name in record}
    kept["performance"] = numbers(record.get("performance", {}))
    kept["performance_interval"] = record.get("performance_interval", {})
    kept["estimated"] = numbers(record.get("estimated", {}))
    kept["error_ratio"] = record["system"].get("error_ratio")
    kept["score_psi"] = record.get("prediction", {}).get("psi")
    kept["business"] = {kpi: of.get("mean") for kpi, of in record.get("business", {}).items()}
    return kept


def numbers(node: Mapping[str, Any]) -> dict[str, float]:
    """The members of ``node`` that are plain numbers."""
    return {name: value for name, value in node.items() if isinstance(value, int | float) and not isinstance(value, bool)}


class Change(NamedTuple):
    """A number that has changed, by its path in the record."""

    path: str
    before: float
    now: float


def changes(now: Mapping[str, Any], before: Mapping[str, Any], prefix: str = "") -> Iterator[Change]:
    """The numbers that are in both ``now`` and ``before`` and differ. ``prefix``: put before each path."""
    for name, value in now.items():
        other = before.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            yield from changes(value, other, f"{prefix}{name}.")
        elif name in ("low", "high", "exact") or value == other:
            continue
        elif isinstance(value, int | float) and isinstance(other, int | float):
            yield Change(f"{prefix}{name}".removesuffix(".value"), float(other), float(value))
