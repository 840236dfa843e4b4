"""Judges the numbers of a metrics record by one monitor's condition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.spread import Spread
from tidegauge.engine.delta import Segment
from tidegauge.judge.limits import Error, allowed_error, has_recovered, limits_of
from tidegauge.metrics.fairness import DISPARATE_IMPACT, MEASURES
from tidegauge.metrics.interval import Interval
from tidegauge.metrics.label_mix import LABEL_MIX
from tidegauge.metrics.prediction_limits import spread_p_value
from tidegauge.metrics.recent import RECENT, LowOrHigh, leaning
from tidegauge.spec import Condition, MonitorSpec

TESTS = {
    "psi": "p_value", "js": "p_value", "ks": "ks_p_value", "wasserstein": "ks_p_value", "tail_psi": "tail_p_value",
    "above_p99_ratio": "tail_p_value", "below_p01_ratio": "tail_p_value",
    "shift": "shift_p_value", "mix_shift": "mix_p_value", "missing_shift": "missing_p_value",
    **{f"{measure}_gap": f"{measure}_gap_p_value" for measure in MEASURES}, DISPARATE_IMPACT: "selection_rate_gap_p_value",
}  # fmt: skip
"""The p-value of each distance, and of gaps between values of a dimension."""
EARLY = frozenset(("missing_ratio", "type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio", "no_probability_ratio"))
SCHEMA = ("data.missing_features", "data.unexpected_features")
WITH_SPREAD = frozenset(("shift_p_value", "mix_p_value", "missing_p_value"))
"""P-values that allow for the baseline's spread from window to window."""
SKEWED = {"ece": "calibration.p_value"}
"""Non-negative numbers with a skewed distribution, which exceed limits from their spread too often if rows are independent;
each with a p-value that must also be significant. Two windows together would exceed such limits even more often, so they are
not judged."""
SETTLED = frozenset(("performance", "calibration", LABEL_MIX, "fairness", "business"))
PREDICTED = frozenset(("system", "data", "prediction", "estimated", "attributions", "attribution_ranking"))
"""Groups of numbers that are computed from predictions alone, so that labels do not change them."""
EXACT = frozenset(("sum", "count", "winsorised_ratio"))


class KnownIntervals(NamedTuple):
    """The confidence intervals of a segment's ``own`` numbers and of its ``baseline``'s, nested like a record."""

    own: Mapping[str, Any]
    baseline: Mapping[str, Any]


IntervalsAt = Callable[[Segment, float], KnownIntervals]
"""Returns the intervals of a segment at a confidence level."""


class Verdict(msgspec.Struct, frozen=True):
    """One monitor's verdict on one number.

    ``path``: the metric with every ``*`` filled in. ``names``: the features in a metric that is a list. ``baseline``,
    ``p_value``, ``interval`` (at the monitor's ``confidence``): None if there is none. ``recent``: whether the number is of the
    window together with the previous one. ``kind``: of the alert. ``words``: the alert's summary, None if it is made from the
    other members. ``recovered``: whether the number is back by the monitor's ``recovery_margin``.
    """

    monitor: MonitorSpec
    path: str
    value: float
    breached: bool
    condition: str
    sample_size: int
    baseline: float | None = None
    p_value: float | None = None
    names: tuple[str, ...] = ()
    interval: Interval | None = None
    kind: str = "monitor"
    words: str | None = None
    recent: bool = False
    recovered: bool = False


def is_early(monitor: MonitorSpec) -> bool:
    """Whether a monitor is judged on open windows too."""
    if monitor.early is not None:
        return monitor.early
    return is_counted(monitor.metric)


def is_counted(metric: str) -> bool:
    """Whether a metric is computed from counts of predictions alone, so that computing it often costs little."""
    return metric.partition(".")[0] == "system" or metric in SCHEMA or metric.rpartition(".")[2] in EARLY


def only_falls(metric: str) -> bool:
    """Whether sound predictions can only lower a metric.

    >>> only_falls("data.features.*.missing_ratio"), only_falls("system.error_ratio"), only_falls("system.latency_ms.p95")
    (True, True, False)
    """
    return metric == "system.error_ratio" or metric in SCHEMA or metric.rpartition(".")[2] in EARLY


def needs_settled(metric: str) -> bool:
    """Whether early labels would bias the metric, so that its window must settle first."""
    return metric.partition(".")[0] in SETTLED


def heeds_predictions(metric: str) -> bool:
    """Whether a metric may name numbers that follow from predictions alone.

    >>> heeds_predictions("system.error_ratio"), heeds_predictions("*.psi"), heeds_predictions("coverage")
    (True, True, False)
    """
    group = metric.partition(".")[0]
    return group in PREDICTED or group == "*"


def heeds_labels(metric: str) -> bool:
    """Whether a metric may name numbers that labels change.

    >>> heeds_labels("system.error_ratio"), heeds_labels("*.psi"), heeds_labels("coverage")
    (False, True, True)
    """
    return metric.partition(".")[0] not in PREDICTED


def has_interval(metric: str) -> bool:
    """Whether a metric comes with an interval, so that a monitor on it can have ``confidence``."""
    parts = metric.split(".")
    return parts[0] == "performance" or (parts[0] == "business" and parts[-1] not in EXACT)


def expand(node: Any, pattern: str) -> Iterator[tuple[str, Any]]:
    """The paths and values under ``node`` that match ``pattern``, in which ``*`` is any one member. Names may contain dots.

    >>> list(expand({"a": {"x.y": {"psi": 1}}}, "a.*.psi"))
    [('a.x.y.psi', 1)]
    """
    if not isinstance(node, Mapping):
        return
    if pattern == "*" or pattern.startswith("*."):
        for name, child in node.items():
            if pattern == "*":
                yield name, child
            else:
                for path, value in expand(child, pattern[2:]):
                    yield f"{name}.{path}", value
        return
    # Members are looked up, not searched for, since a record may have many features.
    end = pattern.find(".")
    while end > 0:
        name = pattern[:end]
        if name in node:
            for path, value in expand(node[name], pattern[end + 1 :]):
                yield f"{name}.{path}", value
        end = pattern.find(".", end + 1)
    if pattern in node:
        yield pattern, node[pattern]


def is_calm(records: Mapping[Segment, Mapping[str, Any]], monitor: MonitorSpec) -> bool:
    """Whether a quick check shows that no verdict can be breached, because every number that the monitor's metric names is
    within its limit. False if that is not certain.

    >>> monitor = MonitorSpec("slow", "system.latency_ms.*", "1h", Condition("above", high=200.0))
    >>> [is_calm({(): {"system": {"latency_ms": {"p50": 50.0, "p95": p95}}}}, monitor) for p95 in (190.0, 210.0)]
    [True, False]
    """
    condition, ratio = monitor.condition, monitor.metric.rpartition(".")[2] in EARLY
    if condition.kind != "above" or condition.high is None or condition.percent:
        return False
    # For these ratios, a limit added to the baseline, or the wider of two limits, is at least the given limit.
    if (condition.relative_to_baseline or condition.auto) and not ratio:
        return False
    return all(
        (len(found) if isinstance(found, list) else found) <= condition.high
        for record in records.values()
        for _, found in expand(_view(record, record), monitor.metric)
    )


EITHER_WAY = LowOrHigh(True, True)


class Candidate(msgspec.Struct, frozen=True):
    """One number that a monitor's metric names, before its family of tests is judged.

    ``share``: the share of its window that it is based on (0 to 1). ``level``: the probability with which it may exceed each of
    its limits by chance; None for three standard deviations. ``recent``: whether it is of the window together with the previous
    one. The window alone must then deviate in the same direction, which ``leans`` gives.
    """

    segment: Segment
    path: str
    value: float
    sample_size: int
    names: tuple[str, ...]
    baseline: float | None
    spread: Spread | None
    p_value: float | None
    interval: Interval | None = None
    baseline_interval: Interval | None = None
    share: float = 1.0
    error: Error | None = None
    level: float | None = None
    recent: bool = False
    leans: LowOrHigh = EITHER_WAY


class SegmentVerdict(NamedTuple):
    """A verdict and the segment of the window that it is about."""

    segment: Segment
    verdict: Verdict


def judge(
    records: Mapping[Segment, Mapping[str, Any]], monitor: MonitorSpec, baseline: Baseline | None, window: str,
    intervals: IntervalsAt | None = None,
) -> list[SegmentVerdict]:  # fmt: skip
    """The verdicts of one monitor on one window.

    ``records``: the window's records by segment. There is a verdict for every number that the monitor's metric names and that
    is computed from at least ``min_count`` values. All are one family of tests, including the numbers of the window together
    with the previous one. ``window``: the name of the window's length, whose spread determines ``auto`` limits. ``intervals``:
    needed by a monitor with ``confidence``.
    """
    candidates: list[Candidate] = []
    for segment, record in records.items():
        found = _candidates(segment, record, record, monitor, baseline, window)
        if RECENT in record and monitor.condition.auto and monitor.confidence is None:
            found = chain(found, _candidates(segment, record[RECENT], record, monitor, baseline, window))
        if monitor.confidence is not None and intervals is not None:
            found = _with_intervals(found, *intervals(segment, monitor.confidence))
        candidates.extend(found)
    significant = holm([c.p_value for c in candidates], monitor.significance)
    verdicts: dict[tuple[Segment, str], Verdict] = {}
    for candidate, allowed in zip(candidates, significant, strict=True):
        limits = limits_of(monitor.condition, candidate.baseline, candidate.spread, candidate.error, candidate.level)
        if limits is None:
            continue
        low, high, text = limits
        value = candidate.value
        if monitor.confidence is not None:
            breached = surely_beyond(candidate, monitor.condition, low, high)
            text += f" with {100 * monitor.confidence:g} % confidence"
        else:
            held = value * candidate.share
            below = low is not None and held < low and candidate.leans.low
            breached = below or (high is not None and held > high and candidate.leans.high)
        text += " over it and the window before" * candidate.recent
        verdict = Verdict(
            monitor, candidate.path, value, breached and allowed, text, candidate.sample_size, candidate.baseline,
            candidate.p_value, candidate.names, candidate.interval, recent=candidate.recent,
            recovered=has_recovered(candidate.value, candidate.baseline, monitor.recovery_margin, limits),
        )  # fmt: skip
        key = (candidate.segment, candidate.path)
        if not candidate.recent or (key in verdicts and verdict.breached and not verdicts[key].breached):
            verdicts[key] = verdict
    return [SegmentVerdict(segment, verdict) for (segment, _), verdict in verdicts.items()]


def _candidates(
    segment: Segment, numbers: Mapping[str, Any], record: Mapping[str, Any], monitor: MonitorSpec, baseline: Baseline | None,
    window: str,
) -> Iterator[Candidate]:  # fmt: skip
    """Candidates among ``numbers``: the ``record`` itself, or its member RECENT."""
    recent = numbers is not record
    part = None if baseline is None else baseline.part(segment)
    spreads = part.spreads(window, recent) if part is not None else {}
    single = part.spreads(window) if part is not None else {}
    # A segment that is not in the reference data is compared with the whole model, except for distances, which it does not
    # have.
    metrics = (part or baseline).metrics if baseline is not None else {}
    view = _view(numbers, record)
    for path, found in expand(view, monitor.metric):
        names: tuple[str, ...] = ()
        if isinstance(found, list):
            names, value = tuple(found), float(len(found))
        elif isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            value = float(found)
        else:
            continue
        size = sample_size(record, path)
        if size < monitor.min_count:
            continue
        spread = spreads.get(path)
        p_value = None
        name = path.rpartition(".")[2]
        test = TESTS.get(name)
        if test is not None and monitor.significance is not None:
            p_value = next(iter(v for _, v in expand(view, f"{path.rpartition('.')[0]}.{test}")), None)
            if p_value is None and (value or test not in WITH_SPREAD):
                # Without any difference there may be no test, but an earlier alert must end.
                continue
            if p_value is not None and monitor.condition.auto and spread is not None and test not in WITH_SPREAD:
                p_value = max(p_value, spread_p_value(value, spread))
        elif name in SKEWED and monitor.condition.auto:
            p_value = next((v for _, v in expand(view, SKEWED[name])), None)
        error = level = None
        if part is not None and monitor.condition.level is not None:
            error, level = allowed_error(monitor.condition, value, path, numbers, part, window, recent)
        if recent and (name in SKEWED or (p_value is None and level is None)):
            continue
        before = next((float(v) for _, v in expand(metrics, path) if isinstance(v, int | float)), None)
        share = _share_in(record, path, size, spreads) if monitor.condition.auto else 1.0
        lean = leaning(path, numbers, record, single, test) if recent else EITHER_WAY
        yield Candidate(
            segment, path, value, size, names, before, spread, p_value, share=share, error=error, level=level, recent=recent,
            leans=lean,
        )  # fmt: skip


def _view(numbers: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers as monitors see them, with those on the label feed of the record added."""
    return {**numbers, "label_feed": label_feed(record)}


def _share_in(record: Mapping[str, Any], path: str, size: int, spreads: Mapping[str, Spread]) -> float:
    """The share of its window that a ratio is based on (0 to 1). Limits learned from whole windows hold for whole windows, so
    an open window is judged as if the rest of it will be sound: a gap of an hour in the morning is not yet a bad day."""
    head, _, member = path.rpartition(".")
    usual = spreads.get(f"{head}.count")
    if record.get("closed", True) or member not in EARLY or usual is None or not usual.mean:
        return 1.0
    return min(size / usual.mean, 1.0)


def _with_intervals(candidates: Iterator[Candidate], own: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Candidate]:
    """The candidates that have an interval, with this interval and that of their baseline value."""
    for candidate in candidates:
        interval = next((of for _, of in expand(own, candidate.path)), None)
        if interval is not None:
            baseline = next((of for _, of in expand(before, candidate.path)), None)
            yield msgspec.structs.replace(candidate, interval=interval, baseline_interval=baseline)


def surely_beyond(candidate: Candidate, condition: Condition, low: float | None, high: float | None) -> bool:
    """Whether a candidate's interval lies entirely beyond a limit. A limit relative to the baseline is itself uncertain, so the
    interval is then that of the difference of both (MOVER: Zou and Donner 2008)."""
    if candidate.interval is None:
        return False
    value, (least, most) = candidate.value, candidate.interval
    down = up = 0.0
    if condition.relative_to_baseline and candidate.baseline is not None and candidate.baseline_interval is not None:
        before = candidate.baseline
        change = ((condition.high or 0.0) - (condition.low or 0.0)) * math.copysign(condition.percent, before)
        down = abs(1 + change) * (before - candidate.baseline_interval.low)
        up = abs(1 + change) * (candidate.baseline_interval.high - before)
    below = low is not None and value + math.hypot(most - value, down) < low
    return below or (high is not None and value - math.hypot(value - least, up) > high)


def label_feed(record: Mapping[str, Any]) -> dict[str, float]:
    """``coverage_gap``: the coverage expected by now, from the version's label delays, minus the actual coverage."""
    if "expected_coverage" not in record or "coverage" not in record:
        return {}
    return {"coverage_gap": record["expected_coverage"] - record["coverage"]}


def sample_size(record: Mapping[str, Any], path: str) -> int:
    """The number of values that a metric is computed from: values of the feature or KPI, labels, or predictions."""
    parts = path.split(".")
    if parts[0] in ("performance", "calibration", LABEL_MIX, "fairness", "estimate_error", "unreadable_label_ratio"):
        return int(record.get("labels", 0))
    if parts[0] == "estimated":
        return int(record["estimated"]["count"])
    if parts[0] == "business":
        return int(record.get("business", {}).get(".".join(parts[1:-1]), {}).get("count", 0))
    if parts[:2] == ["data", "features"]:
        return int(record["data"]["features"].get(".".join(parts[2:-1]), {}).get("count", 0))
    if parts[0] == "attributions":
        return int(record["attributions"].get(".".join(parts[1:-1]), {}).get("count", 0))
    return int(record.get("predictions", 0))


def holm(p_values: Sequence[float | None], level: float | None) -> list[bool]:
    """Which of a family of tests are significant at the family-wise ``level`` (Holm 1979). None means no test and passes.

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
