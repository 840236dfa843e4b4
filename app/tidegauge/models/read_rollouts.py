"""Reads the monitors of ``kind: rollout`` in a spec file."""

from __future__ import annotations

from typing import Any

from tidegauge.judge.metric_names import metric_mistake, suggestion
from tidegauge.metrics.comparison import QUANTITIES, quantity
from tidegauge.models.read_monitors import SEVERITIES, SpecContext, is_rollout, percentage, significance, window_name
from tidegauge.models.yaml_reader import Item, NamedItem, required
from tidegauge.spec import RolloutSpec, duration

MEMBERS = ("name", "kind", "metric", "window", "margin", "significance", "min_count", "lower_is_better", "severity", "runbook")
KPI = "business.<KPI>.mean"


def rollouts(given: Item, around: SpecContext) -> tuple[RolloutSpec, ...]:
    items = given.items() if given.kind == "seq" else []
    return tuple(of for item in items if is_rollout(item) and (of := _rollout(item, around)) is not None)


def _rollout(item: Item, around: SpecContext) -> RolloutSpec | None:
    given = item.members(MEMBERS)
    required(given, "name", item, "a name for its alerts")
    found: dict[str, Any] = {"window": max(around.windows, key=duration)}
    for member, of in given.items():
        value: Any = None
        match member:
            case "name":
                value = of.name()
            case "metric":
                member, value = "metrics", _metrics(of, around)
            case "window":
                value = window_name(of, around.windows)
            case "margin":
                found |= _margin(of)
            case "significance":
                value = significance(of)
            case "min_count":
                value = of.integer(2)
            case "lower_is_better":
                value = tuple(entry.name for entry in of.names() if _is_kpi(*entry))
            case "severity":
                value = of.choice(SEVERITIES)
            case "runbook":
                value = of.text()
        if value is not None:
            found[member] = value
    if found.get("margin_absolute") and len(found.get("metrics", ())) != 1:
        given["margin"].wrong(
            f"{given['margin'].source()} is in the unit of one metric; name that one as metric, or write a percentage of the "
            "champion's value, as 2%"
        )
    return RolloutSpec(**found) if "name" in found else None


def _metrics(of: Item, around: SpecContext) -> tuple[str, ...] | None:
    """The deciding metrics; None for the default ones."""
    if of.kind == "str" and of.source() == "default":
        return None
    entries = list(of.names()) if of.kind == "seq" else [NamedItem(of, name)] if (name := of.name()) is not None else []
    found = []
    for entry, path in entries:
        if quantity(path) is None:
            entry.wrong(f"versions cannot be compared by {path!r}; {suggestion(path, (*QUANTITIES, KPI))}")
        elif path.startswith("performance.") and (mistake := metric_mistake(path, around.task)) is not None:
            entry.wrong(mistake)
        else:
            found.append(path)
    if not entries and of.kind == "seq":
        of.wrong("names no metric; write some, as [performance.accuracy, system.error_ratio], or default")
    return tuple(dict.fromkeys(found))


def _margin(of: Item) -> dict[str, Any]:
    percent = of.kind == "str" and of.source().rstrip().endswith("%")
    value = percentage(of) if percent else of.number()
    if value is not None and value < 0:
        of.wrong(f"{of.source()} is how much worse than the champion a version may be, and cannot be negative")
        return {}
    return {} if value is None else {"margin": value, "margin_absolute": not percent}


def _is_kpi(entry: Item, path: str) -> bool:
    known = path.startswith("business.") and quantity(path) is not None
    if not known:
        entry.wrong(f"{path!r} is not a KPI, and of all else it is known which way is better; write {KPI}")
    return known
