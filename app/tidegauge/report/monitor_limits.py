"""The limits that a model's monitors hold the numbers of its records to, as they follow from spec and baseline now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tidegauge.judge.conditions import expand, label_feed
from tidegauge.judge.limits import allowed_error, limits_of
from tidegauge.models.default_monitors import default_monitors
from tidegauge.models.registry import Registry
from tidegauge.spec import MonitorSpec


def monitors_of(registry: Registry, model: str, version: str = "") -> tuple[MonitorSpec, ...]:
    """The monitors of a model: those of its spec, or the default ones, which depend on the baseline of ``version``."""
    spec = registry.spec(model)
    return spec.monitors if spec.monitors is not None else default_monitors(spec, registry.baseline(model, version))


def monitor_limits(registry: Registry, model: str, records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """An entry for each monitor and number of the ``records``, of windows of one length of one version: ``monitor``,
    ``metric`` (the number's path), ``severity``, ``condition`` in words, and the limits ``low`` and ``high`` where there are.
    Of the same number the last record's counts."""
    found = {(of["monitor"], of["metric"]): of for record in records for of in _limits(registry, model, record)}
    return list(found.values())


def _limits(registry: Registry, model: str, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    version, window = str(record["model_version"]), str(record["window"])
    baseline = registry.baseline(model, version)
    for monitor in monitors_of(registry, model, version):
        if monitor.window != window:
            continue
        for path, value in expand({**record, "label_feed": label_feed(record)}, monitor.metric):
            before = None if baseline is None else next(iter(of for _, of in expand(baseline.metrics, path)), None)
            spread = None if baseline is None else baseline.spread.get(window, {}).get(path)
            error = level = None
            if baseline is not None and isinstance(value, int | float):
                error, level = allowed_error(monitor.condition, value, path, record, baseline, window)
            found = limits_of(monitor.condition, before if isinstance(before, int | float) else None, spread, error, level)
            if found is not None and not isinstance(value, dict):
                low, high, condition = found
                of = {"monitor": monitor.name, "metric": path, "severity": monitor.severity, "condition": condition}
                yield of | {end: limit for end, limit in (("low", low), ("high", high)) if limit is not None}
