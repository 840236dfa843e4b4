"""Bounds the number of names of KPIs, classes and, without a baseline, features that a model has in one join task: only the
first ones are counted separately. This limits the cost of producers that write ids or free text instead of names.

State, in the join's store:
    b<kind>\\0<model>\\0<name>      the name is counted separately; the value has no meaning
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tidegauge.engine.events import MAX_FEATURES, Prediction
from tidegauge.engine.stage import Counters, Store
from tidegauge.join.columns import FeatureNames, is_feature_name
from tidegauge.profile.category import OTHER
from tidegauge.profile.kpi import LEFT_OUT, MAX_NAMES
from tidegauge.profile.outcome import ANOTHER, MAX_CLASSES
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.spec import ModelSpec

NAME = b"b"
KPIS, CLASSES, FEATURES, ATTRIBUTIONS = "kpi", "class", "feature", "attribution"
MOST = {KPIS: MAX_NAMES, CLASSES: MAX_CLASSES, FEATURES: MAX_FEATURES, ATTRIBUTIONS: MAX_FEATURES}
log = logging.getLogger(__name__)


class BoundedNames:
    """The names that one join task counts separately."""

    def __init__(self, store: Store, counters: Counters) -> None:
        self._store, self._counters = store, counters
        self._known: dict[tuple[str, str], set[str]] = {}
        self._told: set[tuple[str, str]] = set()
        for key, _ in store.scan(NAME):
            kind, model, name = key[1:].decode("utf-8", "surrogatepass").split("\0", 2)
            self._known.setdefault((kind, model), set()).add(name)

    def _admitted(self, kind: str, model: str, names: Iterable[str]) -> set[str]:
        """All names of the model that are counted separately, after adding as many of ``names`` as there is room for."""
        return self._added(kind, model, sorted(set(names) - self._known.setdefault((kind, model), set())))

    def _added(self, kind: str, model: str, names: Iterable[str]) -> set[str]:
        """The same for ``names`` that are new; they are added in their order."""
        known = self._known.setdefault((kind, model), set())
        for name in names:
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
        """Those of the ``given`` KPIs that are counted, because their names are among the model's first ones or in its spec,
        and under LEFT_OUT the number of the others."""
        known = self._admitted(KPIS, spec.model, given)
        allowed = known if given.keys() <= known else known | _named(spec)
        left_out = given.keys() - allowed
        if not left_out:
            return given
        self._counters["kpi_values_left_out", spec.model] += len(left_out)
        self._tell(KPIS, spec.model, min(left_out), "are left out; what varies belongs into segments")
        return {name: value for name, value in given.items() if name in allowed} | {LEFT_OUT: float(len(left_out))}

    def features(self, events: Sequence[Prediction], model: str, named: bool) -> FeatureNames:
        """The names of features and attributions that are counted separately if the baseline does not name them. ``named``:
        whether there is a baseline, which names the features. Of new names the most common ones in ``events`` are admitted
        first, so that names made of ids do not displace others."""
        return FeatureNames(
            set() if named else self._commonest(FEATURES, model, [event.features for event in events]),
            self._commonest(ATTRIBUTIONS, model, [event.attributions for event in events]),
        )

    def _commonest(self, kind: str, model: str, rows: Sequence[Mapping[str, object] | None]) -> set[str]:
        known = self._known.get((kind, model), set())
        new = frozenset[str]().union(*(row for row in rows if row)) - known
        if not new:
            return known
        common = Counter(name for row in rows for name in row or () if name in new and is_feature_name(name))
        admitted = self._added(kind, model, sorted(common, key=lambda name: (-common[name], name)))
        if left_out := common.keys() - admitted:
            self._tell(kind, model, min(left_out), "are only counted as unexpected")
        return admitted

    def classes(self, columns: OutcomeColumns, spec: ModelSpec) -> None:
        """Replace classes beyond the model's first ones with OTHER. If the predicted class is replaced, too, and was a
        different one, the actual class becomes ANOTHER, so that it remains known whether the prediction was right."""
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
    """The KPIs that a spec names, in monitors or among its KPIs."""
    metrics = [monitor.metric for monitor in spec.monitors or ()]
    watched = {metric.removeprefix("business.").rpartition(".")[0] for metric in metrics if metric.startswith("business.")}
    return frozenset(watched | set(spec.kpis) | {part for kpi in spec.kpis.values() for part in kpi.ratio or ()})
