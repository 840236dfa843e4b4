"""Which names of KPIs and of classes a model may have: the first so many, so that a producer who writes ids or free text where
names belong costs no more than that.

State, in the join's store:
    b<kind>\\0<model>\\0<name>      nothing: the name is one of them
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from tidegauge.engine.stage import Store
from tidegauge.profile.category import OTHER
from tidegauge.profile.kpi import LEFT_OUT, MAX_NAMES
from tidegauge.profile.outcome import ANOTHER, MAX_CLASSES
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.spec import ModelSpec

NAME = b"b"
KPIS, CLASSES = "kpi", "class"
MOST = {KPIS: MAX_NAMES, CLASSES: MAX_CLASSES}
log = logging.getLogger(__name__)


class BoundedNames:
    """Of one join task."""

    def __init__(self, store: Store, counters: Counter[tuple[str, str]]) -> None:
        self._store, self._counters = store, counters
        self._known: dict[tuple[str, str], set[str]] = {}
        self._told: set[tuple[str, str]] = set()
        for key, _ in store.scan(NAME):
            kind, model, name = key[1:].decode("utf-8", "surrogatepass").split("\0", 2)
            self._known.setdefault((kind, model), set()).add(name)

    def _admitted(self, kind: str, model: str, names: Iterable[str]) -> set[str]:
        """The names a model may have, with those of ``names`` for which there is room."""
        known = self._known.setdefault((kind, model), set())
        for name in sorted(set(names) - known):
            if len(known) >= MOST[kind]:
                break
            known.add(name)
            self._store.put(NAME + f"{kind}\0{model}\0{name}".encode("utf-8", "surrogatepass"), b"1")
        return known

    def _tell(self, kind: str, model: str, name: str, advice: str) -> None:
        if (kind, model) not in self._told:
            self._told.add((kind, model))
            log.warning("%s has more than %d names of %s: %r and further ones %s", model, MOST[kind], kind, name, advice)

    def kpis(self, given: dict[str, float], spec: ModelSpec) -> dict[str, float]:
        """The KPIs whose names are among the model's first, or stand in its spec, and how many others there are."""
        known = self._admitted(KPIS, spec.model, given)
        allowed = known if given.keys() <= known else known | _named(spec)
        left_out = given.keys() - allowed
        if not left_out:
            return given
        self._counters["kpi_values_left_out", spec.model] += len(left_out)
        self._tell(KPIS, spec.model, min(left_out), "are left out; what varies belongs into segments")
        return {name: value for name, value in given.items() if name in allowed} | {LEFT_OUT: float(len(left_out))}

    def classes(self, columns: OutcomeColumns, spec: ModelSpec) -> None:
        """Replace classes beyond the model's first with OTHER. An actual class becomes ANOTHER where the predicted one was
        replaced too and was a different class, so that whether the prediction was right stays known."""
        names = {*columns.predicted, *columns.actual} - {None}
        known: set[str | None] = {None, *self._admitted(CLASSES, spec.model, (name for name in names if name is not None))}
        if names <= known:
            return
        self._tell(CLASSES, spec.model, min(name for name in names - known if name is not None), "are counted together")
        pairs = list(zip(columns.predicted, columns.actual, strict=True))
        columns.predicted = [said if said in known else OTHER for said, _ in pairs]
        columns.actual = [
            true if true in known else OTHER if said in known or said == true else ANOTHER for said, true in pairs
        ]


def _named(spec: ModelSpec) -> frozenset[str]:
    """The KPIs that a spec names."""
    metrics = [monitor.metric for monitor in spec.monitors or ()]
    watched = {metric.removeprefix("business.").rpartition(".")[0] for metric in metrics if metric.startswith("business.")}
    return frozenset(watched | set(spec.kpis) | {part for kpi in spec.kpis.values() for part in kpi.ratio or ()})
