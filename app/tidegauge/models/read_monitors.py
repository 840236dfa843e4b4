"""Reads the members ``monitors`` and ``detectors`` of a spec file."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import msgspec

from tidegauge.baseline.tuning import budget_text
from tidegauge.detect.budget import TUNED_PARAMETERS
from tidegauge.detect.detectors import ALGORITHMS, BINARY, Detector
from tidegauge.detect.value_streams import OUTCOMES, PREDICTIONS
from tidegauge.errors import SpecError
from tidegauge.judge.conditions import TESTS, has_interval, needs_settled
from tidegauge.judge.few_values import can_judge_few
from tidegauge.judge.metric_names import metric_mistake, suggestion
from tidegauge.models.yaml_reader import Item, required
from tidegauge.spec import (
    MAX_REMEMBERED,
    ROLLOUT,
    Against,
    Condition,
    DetectorSpec,
    KpiSpec,
    MonitorSpec,
    Severity,
    Task,
    duration,
)

CONDITIONS = ("above", "below", "outside", "above_baseline", "below_baseline")
MONITOR = ("name", "kind", "metric", "window", *CONDITIONS, "severity", "runbook", "min_count", "few_values", "for",
           "keep_firing_for", "recovery_margin", "critical_with_performance", "segments", "significance", "confidence", "early",
           "settle")  # fmt: skip
DETECTOR = ("name", "stream", "algorithm", "parameters", "false_alarms", "against", "severity", "segments", "runbook")
STREAMS = (*OUTCOMES, *PREDICTIONS)
SEVERITIES = get_args(Severity)
RATIO, WINSORISED = "ratio", ("winsorised_mean", "winsorised_ratio")
MOST_FALSE_ALARMS = 0.01
_BUDGET = re.compile(r"(\d+(?:\.\d+)?) per (\d+)")
MAX_DETECTOR_SIZE = 100_000
"""The largest whole number a detector parameter may be: a detector's memory and time grow with its window."""


class SpecContext(msgspec.Struct, frozen=True):
    """The other members of the spec that monitors and detectors refer to."""

    task: Task | None
    windows: tuple[str, ...]
    breakdowns: tuple[tuple[str, ...], ...]
    kpis: Mapping[str, KpiSpec] = {}


def monitors(given: Item, around: SpecContext) -> tuple[MonitorSpec, ...]:
    return tuple(monitor for item in given.items() if not is_rollout(item) and (monitor := _monitor(item, around)) is not None)


def is_rollout(item: Item) -> bool:
    """Whether a monitor compares versions; such monitors have members of their own (``read_rollouts.py``)."""
    kind = item.members().get("kind") if item.kind == "map" else None
    return kind is not None and kind.kind == "str" and kind.source() == ROLLOUT


def detectors(given: Item, around: SpecContext) -> tuple[DetectorSpec, ...]:
    return tuple(detector for item in given.items() if (detector := _detector(item, around)) is not None)


def unique_names(lists: Iterator[Item]) -> None:
    """Note every name that two monitors or detectors share, since the name identifies their alerts."""
    lines: dict[str, int] = {}
    for given in lists:
        if given.kind != "seq":
            continue
        for entry in given.items():
            name = entry.members().get("name") if entry.kind == "map" else None
            if name is None or name.kind in ("map", "seq", "null"):
                continue
            if name.source() in lines:
                name.wrong(f"{name.source()!r} is already the name of the one in line {lines[name.source()]}; choose another")
            lines.setdefault(name.source(), name.line)


def _monitor(item: Item, around: SpecContext) -> MonitorSpec | None:
    given = item.members(MONITOR)
    if item.kind != "map":
        return None
    found: dict[str, Any] = {}
    for member, what in (("name", "a name for its alerts"), ("metric", "one, as performance.accuracy"),
                         ("window", f"one of {', '.join(around.windows)}")):  # fmt: skip
        required(given, member, item, what)
    metric = given["metric"].text() if "metric" in given else None
    condition = _condition(item, given)
    for member, of in given.items():
        value: Any = None
        match member:
            case "name":
                value = of.name()
            case "kind":
                of.choice(("monitor", ROLLOUT))
            case "metric":
                value = metric
                if metric is not None:
                    _check_metric(of, metric, around)
            case "window":
                value = window_name(of, around.windows)
            case "severity":
                value = of.choice(SEVERITIES)
            case "runbook":
                value = of.text()
            case "min_count":
                value = of.integer(1)
            case "for":
                member, value = "for_windows", of.integer(1, MAX_REMEMBERED)
            case "keep_firing_for":
                value = of.integer(1, MAX_REMEMBERED)
            case "recovery_margin":
                value = _recovery_margin(of)
            case "few_values":
                value = _few_values(of, metric, condition)
            case "critical_with_performance":
                value = of.boolean()
            case "segments":
                value = _segments(of, around)
            case "significance":
                found[member] = None if of.kind == "null" else significance(of)
            case "confidence":
                value = _confidence(of, metric)
            case "early":
                value = _early(of, metric)
            case "settle":
                value = "auto" if of.kind == "str" and of.source() == "auto" else of.seconds(zero=True)
        if value is not None:
            found[member] = value
    if condition is None or any(found.get(member) is None for member in ("name", "metric", "window")):
        return None
    return MonitorSpec(condition=condition, **found)


def _condition(item: Item, given: dict[str, Item]) -> Condition | None:
    written = [name for name in CONDITIONS if name in given]
    conditions = [_limits(name, given[name]) for name in written]
    if not written:
        item.wrong(f"has no condition; write one of {', '.join(CONDITIONS)}")
    for extra in written[1:]:
        given[extra].wrong(f"a monitor has one condition, this one has {written[0]} already; write a second monitor")
    return conditions[0] if conditions else None


def _limits(name: str, of: Item) -> Condition | None:
    kind, _, baseline = name.partition("_")
    if not baseline and of.kind == "str" and of.source() == "auto":
        return Condition(kind, auto=True)  # type: ignore[arg-type]
    if kind == "outside":
        bounds = of.items() if of.kind == "seq" else []
        if len(bounds) != 2:
            of.expected("[lowest, highest] or auto")
            return None
        low, high = (bound.number() for bound in bounds)
        if low is not None and high is not None and low > high:
            of.wrong(f"the lowest, {low:g}, is above the highest, {high:g}; swap them")
        return Condition("outside", low, high)
    percent = of.kind == "str" and of.source().rstrip().endswith("%")
    if percent and not baseline:
        of.wrong(f"a percentage is one of the baseline's value; write {name}_baseline: {of.source()}")
        return None
    limit = percentage(of) if percent else of.number()
    if limit is None:
        return None
    if baseline and limit < 0:
        of.wrong(f"{of.source()} is a distance from the baseline and cannot be negative; {name} already says the direction")
        return None
    low, high = (limit, None) if kind == "below" else (None, limit)
    return Condition(kind, low, high, relative_to_baseline=bool(baseline), percent=percent)  # type: ignore[arg-type]


def percentage(of: Item) -> float | None:
    try:
        share = float(of.source().rstrip()[:-1]) / 100
    except ValueError:
        share = math.nan
    if not math.isfinite(share):
        of.expected("a percentage, as 2%")
        return None
    return share


def _check_metric(of: Item, metric: str, around: SpecContext) -> None:
    mistake = metric_mistake(metric, around.task)
    if mistake is not None:
        of.wrong(mistake)
    elif metric.startswith("fairness."):
        dimension = metric.removeprefix("fairness.").rpartition(".")[0]
        known = ["+".join(breakdown) for breakdown in around.breakdowns]
        if dimension != "*" and dimension not in known:
            hint = suggestion(dimension, known) if known else f"write segments: [{dimension}]"
            of.wrong(f"{dimension!r} is not among the spec's segments; {hint}")
    elif metric.startswith("business."):
        _check_kpi(of, metric, around.kpis)


def _check_kpi(of: Item, metric: str, kpis: Mapping[str, KpiSpec]) -> None:
    """Ratios and winsorised means are computed only for KPIs for which the spec asks for them."""
    kpi, _, number = metric.removeprefix("business.").rpartition(".")
    if kpi == "*" or number not in (RATIO, *WINSORISED):
        return
    asked = kpis.get(kpi, KpiSpec())
    if (asked.ratio if number == RATIO else asked.winsorise) is None:
        how = "ratio: [revenue, orders]" if number == RATIO else "winsorise: [0, 500]"
        of.wrong(f"{metric} is counted only if the spec says how; write, say, kpis: {{{kpi}: {{{how}}}}}")


def window_name(of: Item, windows: tuple[str, ...]) -> str | None:
    name = of.name()
    if name is None or name in windows:
        return name
    same: list[str] = []
    try:
        same = [window for window in windows if duration(window) == duration(name)]
    except SpecError as error:
        of.wrong(str(error))
        return None
    hint = f"write {same[0]}" if same else f"write one of {', '.join(windows)}, or add it there"
    of.wrong(f"{name!r} is not among the spec's windows; {hint}")
    return None


def _segments(of: Item, around: SpecContext) -> bool | tuple[str, ...] | None:
    if of.kind != "seq":
        if of.kind == "bool":
            return of.boolean()
        of.expected("true, false or a list of the spec's segments")
        return None
    known = [breakdown[0] for breakdown in around.breakdowns if len(breakdown) == 1]
    chosen = []
    for item, name in of.names():
        if name not in known:
            item.wrong(f"{name!r} is not among the spec's segments; " + (suggestion(name, known) if known else "add it there"))
        chosen.append(name)
    return tuple(chosen)


def significance(of: Item) -> float | None:
    level = of.number()
    if level is not None and not 0 < level < 1:
        of.wrong(f"{of.source()} is not a significance level; write one between 0 and 1, or null to turn it off")
    return level


def _recovery_margin(of: Item) -> float | None:
    share = of.number()
    if share is not None and not 0 < share <= 1:
        of.wrong(f"{of.source()} is no share of the way to the baseline's value; write one above 0 and up to 1, as 0.5")
    return share


def _few_values(of: Item, metric: str | None, condition: Condition | None) -> float | None:
    level = of.number()
    if level is not None and not 0 < level < 1:
        of.wrong(f"{of.source()} is not a significance level; write one between 0 and 1, as 0.001")
    if metric is not None and condition is not None and not can_judge_few(metric, condition):
        of.wrong("few_values is for shares and lists of faults above a limit, as system.error_ratio; remove it")
    return level


def _confidence(of: Item, metric: str | None) -> float | None:
    level = of.number()
    if level is not None and not 0 < level < 1:
        of.wrong(f"{of.source()} is not a confidence level; write one between 0 and 1, as 0.95")
    if metric is not None and not has_interval(metric):
        of.wrong(f"{metric} has no interval; confidence is for performance and for means and ratios of business, and "
                 "distances have significance")  # fmt: skip
    return level


def _early(of: Item, metric: str | None) -> bool | None:
    early = of.boolean()
    if early and metric is not None:
        last = metric.rpartition(".")[2]
        if needs_settled(metric) or last in (*TESTS, *TESTS.values()) or metric.startswith("estimated."):
            of.wrong(f"{metric} is statistical and judged on closed windows only; remove early")
    return early


def _detector(item: Item, around: SpecContext) -> DetectorSpec | None:
    given = item.members(DETECTOR)
    if item.kind != "map":
        return None
    found: dict[str, Any] = {}
    for member, what in (("name", "a name for its alerts"), ("stream", f"one of {', '.join(STREAMS)}"),
                         ("algorithm", f"one of {', '.join(ALGORITHMS)}")):  # fmt: skip
        required(given, member, item, what)
    algorithm = given["algorithm"].choice(tuple(ALGORITHMS)) if "algorithm" in given else None
    for member, of in given.items():
        value: Any = None
        match member:
            case "name":
                value = of.name()
            case "stream":
                value = of.choice(STREAMS)
            case "algorithm":
                value = algorithm
            case "parameters":
                value = _parameters(of, algorithm)
            case "false_alarms":
                value = _budget(of, algorithm)
            case "against":
                value = of.choice(get_args(Against))
            case "severity":
                value = of.choice(SEVERITIES)
            case "segments":
                value = _segments(of, around)
            case "runbook":
                value = of.text()
        if value is not None:
            found[member] = value
    if any(member not in found for member in ("name", "stream", "algorithm")):
        return None
    if found["stream"] in ("error", "score") and around.task == "regression":
        given["stream"].wrong(f"{found['stream']} is a stream of classification; a regression has abs_error and latency_ms")
        return None
    if algorithm in BINARY and found["stream"] != "error":
        given["stream"].wrong(f"{algorithm} takes errors of 0 and 1 only; write stream: error, or another algorithm")
        return None
    if algorithm in BINARY and "against" in found:
        given["against"].wrong(f"{algorithm} takes errors of 0 and 1, not what is left of them; choose adwin or page_hinkley")
        return None
    if "false_alarms" in found and TUNED_PARAMETERS[found["algorithm"]].parameter in found.get("parameters", {}):
        parameter = TUNED_PARAMETERS[found["algorithm"]].parameter
        given["parameters"].wrong(f"{parameter} is what false_alarms calibrates; remove one of the two")
        return None
    spec = DetectorSpec(**found)
    if "parameters" not in given or found.get("parameters") is not None:
        try:
            Detector(spec)
        except (SpecError, ValueError, OverflowError) as error:
            given.get("parameters", item).wrong(f"{algorithm} does not take these parameters: {error}; correct them")
    return spec


def _budget(of: Item, algorithm: str | None) -> float | None:
    """The budget of false alarms per value, from text such as ``1 per 100000``."""
    match = _BUDGET.fullmatch(of.source().strip()) if of.kind == "str" else None
    if match is None or not float(match[1]) or not float(match[2]):
        of.expected("a number of false alarms per values fed, as 1 per 100000")
        return None
    rate = float(match[1]) / float(match[2])
    rarest = TUNED_PARAMETERS[algorithm].rarest if algorithm is not None else 0.0
    if rate > MOST_FALSE_ALARMS:
        of.wrong(f"{of.source()} is no budget, a detector may be wrong at most {budget_text(MOST_FALSE_ALARMS)}; write fewer")
    elif rate < rarest * (1 - 1e-9):
        of.wrong(f"{of.source()} takes too long to simulate for {algorithm}; write at least {budget_text(rarest)}"
                 + (", or choose adwin" if algorithm != "adwin" else ""))  # fmt: skip
    else:
        return rate
    return None


def _parameters(of: Item, algorithm: str | None) -> dict[str, Any] | None:
    """Parameters by name, with the types of the algorithm's defaults; None if one of them is wrong."""
    if algorithm is None:
        of.members()
        return None
    defaults = {name: parameter.default for name, parameter in inspect.signature(ALGORITHMS[algorithm]).parameters.items()}
    given = of.members(defaults)
    values: dict[str, Any] = {}
    for name, item in given.items():
        default = defaults[name]
        if isinstance(default, bool):
            values[name] = item.boolean()
        elif isinstance(default, int) or name == "seed":
            values[name] = item.integer(0 if name in ("seed", "grace_period", "warm_start") else 1, MAX_DETECTOR_SIZE)
        elif isinstance(default, str):
            values[name] = item.text()
        else:
            values[name] = item.number()
    return None if None in values.values() or of.kind != "map" else values
