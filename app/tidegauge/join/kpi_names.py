"""Which names of KPIs a model may have: the first MAX_NAMES, so that a producer who writes ids into names costs no more.

State, in the join's store:
    n<model>\\0<KPI>      nothing: the name is one of them
"""

from __future__ import annotations

import logging
from collections import Counter

from tidegauge.engine.stage import Store
from tidegauge.profile.kpi import LEFT_OUT, MAX_NAMES
from tidegauge.spec import ModelSpec

NAME = b"n"
log = logging.getLogger(__name__)


class KpiNames:
    """Of one join task."""

    def __init__(self, store: Store, counters: Counter[tuple[str, str]]) -> None:
        self._store, self._counters = store, counters
        self._known: dict[str, set[str]] = {}
        self._told: set[str] = set()
        for key, _ in store.scan(NAME):
            model, _, name = key[1:].decode("utf-8", "surrogatepass").partition("\0")
            self._known.setdefault(model, set()).add(name)

    def bounded(self, kpis: dict[str, float], spec: ModelSpec) -> dict[str, float]:
        """The KPIs whose names are among the model's first, or stand in its spec, and how many others there are."""
        known = self._known.setdefault(spec.model, set())
        for name in sorted(kpis.keys() - known):
            if len(known) < MAX_NAMES:
                known.add(name)
                self._store.put(NAME + f"{spec.model}\0{name}".encode("utf-8", "surrogatepass"), b"")
        allowed = known if kpis.keys() <= known else known | _named(spec)
        left_out = kpis.keys() - allowed
        if not left_out:
            return kpis
        self._counters["kpi_values_left_out", spec.model] += len(left_out)
        if spec.model not in self._told:
            self._told.add(spec.model)
            log.warning(
                "%s has more than %d names of KPIs: %r and further ones are left out; what varies belongs into segments",
                spec.model, MAX_NAMES, min(left_out),
            )  # fmt: skip
        return {name: value for name, value in kpis.items() if name in allowed} | {LEFT_OUT: float(len(left_out))}


def _named(spec: ModelSpec) -> frozenset[str]:
    """The KPIs that a spec names."""
    metrics = [monitor.metric for monitor in spec.monitors or ()]
    watched = {metric.removeprefix("business.").rpartition(".")[0] for metric in metrics if metric.startswith("business.")}
    return frozenset(watched | set(spec.kpis) | {part for kpi in spec.kpis.values() for part in kpi.ratio or ()})
