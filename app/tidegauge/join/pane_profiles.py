"""Rows become columns, columns profiles: what one join task has to say of each pane of each version and segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.arrival_quanta import ArrivalPlaces
from tidegauge.engine.delta import ProfileDelta, Segment
from tidegauge.join.columns import data_columns
from tidegauge.join.contexts import Context
from tidegauge.join.detector_samples import DetectorSamples
from tidegauge.join.grouping import runs
from tidegauge.join.outcome_columns import joined_columns, outcome_columns
from tidegauge.join.pairing import Pairs
from tidegauge.join.progress import Progress
from tidegauge.join.waiting_rows import VersionRows
from tidegauge.models.registry import Registry
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeGroups, OutcomeProfile
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec

_TIMES = np.dtype(
    [("context", np.int64), ("ts", np.float64), ("label_ts", np.float64), ("arrived", np.float64), ("first", bool)]
)

Place = tuple[str, Segment, int, float]
"""Version, segment, pane, and the start of the quantum of event time of arrival."""


class _ModelProfiles:
    """What there is of one model. ``latest``: the largest ``ts`` of the predictions in a place."""

    __slots__ = ("data", "latest", "outcomes", "paired")

    def __init__(self) -> None:
        self.data: dict[Place, DataProfile] = {}
        self.latest: dict[Place, float] = {}
        self.outcomes: dict[Place, OutcomeProfile] = {}
        self.paired: dict[Place, dict[str, PairProfile]] = {}


class PaneProfiles:
    """The profiles since the last ``clear``. ``contexts`` are those of ``Contexts.by_id``."""

    def __init__(self, contexts: Sequence[Context], registry: Registry, spec: Callable[[str], ModelSpec]) -> None:
        self._contexts, self._registry, self._spec = contexts, registry, spec
        self.samples = DetectorSamples(contexts)
        self._by_model: defaultdict[str, _ModelProfiles] = defaultdict(_ModelProfiles)
        self._stood: dict[str, float] = {}

    def add(self, rows: Mapping[tuple[str, str], VersionRows], pairs: Pairs) -> None:
        """Take in rows and pairs, counted under the specs and baselines of now."""
        for (model, version), gathered in rows.items():
            spec = self._spec(model)
            if gathered.events:
                self._add_predictions(version, spec, gathered)
            if gathered.outcomes:
                outcomes = gathered.outcomes
                table = np.array([(row.context, row.ts, row.label_ts, row.arrived, row.first) for row in outcomes], _TIMES)
                columns = outcome_columns(outcomes, spec)
                self._add_outcomes(version, spec, columns, table, table["arrived"], table["first"])
            if gathered.joined:
                table = np.concatenate(gathered.joined)
                columns = joined_columns(table, gathered.request_ids, spec)
                arrived = np.maximum(table["label_ts"], table["ts"])
                self._add_outcomes(version, spec, columns, table, arrived, np.ones(len(table), bool))
        for (model, first, second), where, profile in pairs.flush():
            _merge_into(self._by_model[model].paired.setdefault((first, (), *where), {}), second, profile)

    def settled_at(self, progress: Mapping[str, Progress]) -> None:
        """Note how far each model's predictions have come with the rows settled so far."""
        self._stood = {model: of.predictions for model, of in progress.items()}

    def _add_predictions(self, version: str, spec: ModelSpec, gathered: VersionRows) -> None:
        baseline = self._registry.baseline(spec.model, version)
        columns = data_columns(gathered.events, spec, baseline.schema if baseline else None)
        ts = np.array([event.ts for event in gathered.events])
        contexts = np.array(gathered.contexts, np.int64)
        # What comes out of order arrives when the latest before it did.
        places = ArrivalPlaces(spec, ts, np.maximum.accumulate(np.maximum(ts, self._stood.get(spec.model, 0.0))))
        held = self._by_model[spec.model]
        for breakdown in ((), *spec.segments):
            order, starts, names = runs(self._contexts, breakdown, contexts, places.codes)
            if not len(starts):
                continue
            for (segment, code), profile in zip(names, columns.group(order, starts, not breakdown), strict=True):
                _merge_into(held.data, (version, segment, *places.of(code)), profile)
            if not breakdown:
                for (_, code), latest in zip(names, np.maximum.reduceat(ts[order], starts).tolist(), strict=True):
                    place = (version, (), *places.of(code))
                    held.latest[place] = max(held.latest.get(place, 0.0), latest)
        if baseline is not None and baseline.confidence_is == "predicted" and columns.other_results is not None:
            columns.results = columns.other_results
        self.samples.add_predictions(version, spec, columns, gathered.events, contexts)

    def _add_outcomes(
        self, version: str, spec: ModelSpec, columns: OutcomeColumns, table: NDArray[np.void],
        arrived: NDArray[np.float64], first: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        contexts = table["context"].astype(np.int64)
        places = ArrivalPlaces(spec, table["ts"], arrived)
        groups, held = OutcomeGroups(columns), self._by_model[spec.model].outcomes
        for breakdown in ((), *spec.segments):
            order, starts, names = runs(self._contexts, breakdown, contexts, places.codes)
            if len(starts):
                for (segment, code), profile in zip(names, groups.group(order, starts), strict=True):
                    _merge_into(held, (version, segment, *places.of(code)), profile)
        baseline = self._registry.baseline(spec.model, version)
        if baseline is not None and baseline.confidence_is == "predicted" and columns.other_score is not None:
            columns.score = columns.other_score
        self.samples.add_outcomes(version, spec, columns, table, first)

    def parts(self, model: str) -> Iterator[ProfileDelta]:
        """What there is of ``model``, place by place."""
        held = self._by_model[model]
        for place in dict.fromkeys((*held.data, *held.outcomes, *held.paired)):
            data, outcome = held.data.get(place), held.outcomes.get(place)
            yield ProfileDelta(
                *place,
                None if data is None else data.pack(),
                None if outcome is None or outcome.empty() else outcome.pack(),
                {other: of.pack() for other, of in held.paired.get(place, {}).items() if not of.empty()},
                held.latest.get(place, 0.0),
            )

    def examples(self, model: str) -> Iterator[str]:
        """Request ids that the profiles of ``model`` hold as examples."""
        held = self._by_model[model]
        for data in held.data.values():
            yield from chain.from_iterable(data.examples.values())
        for outcome in held.outcomes.values():
            yield from outcome.examples

    def clear(self) -> None:
        self._by_model.clear()
        self.samples.clear()


def _merge_into(held: dict[Any, Any], key: Any, profile: Any) -> None:
    own = held.get(key)
    if own is None:
        held[key] = profile
    else:
        own.merge(profile)
