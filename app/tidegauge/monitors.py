"""Numbers to verdicts: one monitor's condition on one metrics record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tidegauge.baseline import Baseline, Spread
from tidegauge.spec import Condition, MonitorSpec

DISTANCES = frozenset(("psi", "ks", "js", "wasserstein"))
EARLY = frozenset(("missing_ratio", "type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio"))
SETTLED = frozenset(("performance", "fairness", "business"))
MIN_SPREAD_WINDOWS = 8
"""A baseline must span this many windows before their spread can set a limit."""
STANDARD_DEVIATIONS = 3.0


class Verdict(msgspec.Struct, frozen=True):
    """What one monitor says of one number. ``path`` is the metric with every ``*`` filled in; ``names`` the features a
    list metric names; ``baseline`` and ``p_value`` None where there is none."""

    monitor: MonitorSpec
    path: str
    value: float
    breached: bool
    condition: str
    sample_size: int
    baseline: float | None = None
    p_value: float | None = None
    names: tuple[str, ...] = ()


def is_early(monitor: MonitorSpec) -> bool:
    """Whether a monitor is judged on open windows too."""
    if monitor.early is not None:
        return monitor.early
    parts = monitor.metric.split(".")
    schema = monitor.metric in ("data.missing_features", "data.unexpected_features")
    return parts[0] == "system" or parts[-1] in EARLY or schema


def needs_settled(metric: str) -> bool:
    """Whether early labels would bias the metric, so that its window must settle first."""
    return metric.partition(".")[0] in SETTLED


def expand(node: Any, pattern: str) -> Iterator[tuple[str, Any]]:
    """Paths and values under ``node`` that match ``pattern``; ``*`` is any one member. Names may hold dots.

    >>> list(expand({"a": {"x.y": {"psi": 1}}}, "a.*.psi"))
    [('a.x.y.psi', 1)]
    """
    if not isinstance(node, Mapping):
        return
    for name, child in node.items():
        if pattern in (name, "*"):
            yield name, child
        for head in (f"{name}.", "*."):
            if pattern.startswith(head):
                for path, value in expand(child, pattern[len(head) :]):
                    yield f"{name}.{path}", value


def judge(record: Mapping[str, Any], monitor: MonitorSpec, baseline: Baseline | None, window: str) -> list[Verdict]:
    """A verdict for each number the monitor's metric names in the record, where it could be computed and rests on at
    least ``min_count``. ``window``: the record's window length, whose spread ``auto`` limits come from."""
    candidates: list[tuple[str, float, int, float | None, tuple[str, ...]]] = []
    view = {**record, "label_feed": label_feed(record)}
    for path, found in expand(view, monitor.metric):
        names: tuple[str, ...] = ()
        if isinstance(found, list):
            names, value = tuple(found), float(len(found))
        elif isinstance(found, int | float) and not isinstance(found, bool):
            value = float(found)
        else:
            continue
        size = sample_size(record, path)
        if size < monitor.min_count:
            continue
        p_value = None
        if path.rpartition(".")[2] in DISTANCES and monitor.significance is not None:
            p_value = next(iter(v for _, v in expand(view, path.rpartition(".")[0] + ".p_value")), None)
            if p_value is None:
                continue
        candidates.append((path, value, size, p_value, names))
    significant = holm([p for *_, p, _ in candidates], monitor.significance)
    spread = baseline.spread.get(window, {}) if baseline is not None else {}
    metrics = baseline.metrics if baseline is not None else {}
    verdicts = []
    for (path, value, size, p_value, names), allowed in zip(candidates, significant, strict=True):
        before = next((float(v) for _, v in expand(metrics, path) if isinstance(v, int | float)), None)
        limits = limits_of(monitor.condition, before, spread.get(path))
        if limits is None:
            continue
        low, high, text = limits
        breached = (low is not None and value < low) or (high is not None and value > high)
        verdicts.append(Verdict(monitor, path, value, breached and allowed, text, size, before, p_value, names))
    return verdicts


def label_feed(record: Mapping[str, Any]) -> dict[str, float]:
    """How far coverage lags behind what this version's label delays let expect."""
    if "expected_coverage" not in record or "coverage" not in record:
        return {}
    return {"coverage_gap": record["expected_coverage"] - record["coverage"]}


def sample_size(record: Mapping[str, Any], path: str) -> int:
    """The denominator a metric rests on: values of the feature or KPI, labels, or predictions."""
    parts = path.split(".")
    if parts[0] in ("performance", "fairness"):
        return int(record.get("labels", 0))
    if parts[0] == "business":
        return int(record.get("business", {}).get(".".join(parts[1:-1]), {}).get("count", 0))
    if parts[:2] == ["data", "features"]:
        return int(record["data"]["features"].get(".".join(parts[2:-1]), {}).get("count", 0))
    return int(record.get("predictions", 0))


def holm(p_values: Sequence[float | None], level: float | None) -> list[bool]:
    """Which of a family of tests are significant at family-wise ``level`` (Holm 1979); None is no test and passes.

    >>> holm([0.001, 0.04, None, 0.02], 0.05)
    [True, True, True, True]
    >>> holm([0.001, 0.04, 0.03], 0.05)
    [True, False, False]
    """
    passed = [p is None or level is None for p in p_values]
    if level is None:
        return passed
    tested = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    for rank, (p, place) in enumerate(tested):
        if p > level / (len(tested) - rank):
            break
        passed[place] = True
    return passed


def limits_of(
    condition: Condition, baseline: float | None, spread: Spread | None
) -> tuple[float | None, float | None, str] | None:
    """Lower and upper limit of a condition and its text; None where it rests on a baseline that is not there."""
    low, high = condition.low, condition.high
    if condition.auto:
        if spread is None or spread[2] < MIN_SPREAD_WINDOWS:
            return None
        mean, deviation, _ = spread
        reach = STANDARD_DEVIATIONS * deviation
        low = mean - reach if condition.kind in ("below", "outside") else None
        high = mean + reach if condition.kind in ("above", "outside") else None
        of = f" (baseline {mean:.4g} ± 3 × {deviation:.2g} from window to window)"
    elif condition.relative_to_baseline:
        if baseline is None:
            return None
        scale = abs(baseline) if condition.percent else 1.0
        low = None if low is None else baseline - low * scale
        high = None if high is None else baseline + high * scale
        of = f" (baseline {baseline:.4g})"
    else:
        of = ""
    if condition.kind == "outside" and low is not None and high is not None:
        return low, high, f"outside {low:.4g} to {high:.4g}{of}"
    if condition.kind == "below":
        return low, None, f"below {low:.4g}{of}"
    return None, high, f"above {high:.4g}{of}"
