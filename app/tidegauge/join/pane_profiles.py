"""Summarises the rows of one join task for each pane of each version and segment: rows become columns, and columns profiles.

If profiles would hold only a few rows each, the rows themselves are passed on. With a hundred quiet segments or models they
take less space, and the monitor stage groups the rows of many checkpoints at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.arrival_quanta import ArrivalPlaces
from tidegauge.engine.delta import Part, ProfileDelta, RowsDelta, Segment
from tidegauge.join.bounded_names import BoundedNames
from tidegauge.join.columns import data_columns
from tidegauge.join.contexts import Context
from tidegauge.join.detector_samples import DetectorSamples
from tidegauge.join.outcome_columns import joined_columns, outcome_columns
from tidegauge.join.pairing import Pairs
from tidegauge.join.progress import Progress
from tidegauge.join.searched_requests import SearchedRequests
from tidegauge.join.waiting_rows import VersionRows
from tidegauge.models.registry import Registry
from tidegauge.profile import data_rows
from tidegauge.profile.data import DataColumns, DataProfile
from tidegauge.profile.grouping import Runs, Segments
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.outcome_table import OutcomeTable
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec, ModelVersion

_TIMES = np.dtype(
    [("context", np.int64), ("ts", np.float64), ("label_ts", np.float64), ("arrived", np.float64), ("first", bool)]
)

MIN_ROWS = 200
"""Rows are not made into profiles that would hold fewer than this on average: those would keep the values themselves anyway
(``profile/quantiles.py``)."""
MAX_PART_BYTES = 1 << 19
"""Rows are passed on in parts of at most this size, or of one row if that is larger."""


class ProfileKey(NamedTuple):
    """What a profile is about: the first members of a ProfileDelta."""

    version: str
    segment: Segment
    pane: int
    arrival: float


class _ModelProfiles:
    """Everything of one model since the last ``clear``. ``latest``: the largest ``ts`` of the predictions in a place; ``rows``:
    the rows that were not made into profiles; ``columns``: those that the rows were cut from."""

    __slots__ = ("columns", "data", "latest", "outcomes", "paired", "rows")

    def __init__(self) -> None:
        self.data: dict[ProfileKey, DataProfile] = {}
        self.latest: dict[ProfileKey, float] = {}
        self.outcomes: dict[ProfileKey, OutcomeProfile] = {}
        self.paired: dict[ProfileKey, dict[str, PairProfile]] = {}
        self.rows: list[RowsDelta] = []
        self.columns: list[DataColumns | OutcomeColumns] = []


class PaneProfiles:
    """The profiles, rows and samples since the last ``clear``. ``contexts``: those of ``Contexts.by_id``."""

    def __init__(
        self, contexts: Sequence[Context], registry: Registry, spec: Callable[[str], ModelSpec], names: BoundedNames,
        searched: SearchedRequests,
    ) -> None:  # fmt: skip
        self._contexts, self._registry, self._spec, self._names, self._searched = contexts, registry, spec, names, searched
        self.samples = DetectorSamples(contexts)
        self._by_model: defaultdict[str, _ModelProfiles] = defaultdict(_ModelProfiles)
        self._stood: dict[str, float] = {}

    def add(self, rows: Mapping[ModelVersion, VersionRows], pairs: Pairs, complete: float) -> None:
        """Add rows and pairs, by the current specs and baselines. ``complete``: as in ``Gathering.flush``."""
        for (model, version), gathered in rows.items():
            spec = self._spec(model)
            if gathered.events:
                self._add_predictions(version, spec, gathered, complete)
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
        for pair, place, profile in pairs.flush():
            paired = self._by_model[pair.model].paired.setdefault(ProfileKey(pair.first, (), *place), {})
            _merge_into(paired, pair.second, profile)

    def settled_at(self, progress: Mapping[str, Progress]) -> None:
        """Note the event time that each model's predictions have reached with the rows that are settled so far."""
        self._stood = {model: of.predictions for model, of in progress.items()}

    def _add_predictions(self, version: str, spec: ModelSpec, gathered: VersionRows, complete: float) -> None:
        baseline = self._registry.baseline(spec.model, version)
        counted = self._names.features(gathered.events, spec.model, baseline is not None)
        columns = data_columns(gathered.events, spec, baseline.schema if baseline else None, counted)
        ts = np.array([event.ts for event in gathered.events])
        self._searched.note(columns, gathered.contexts, float(ts.max()), baseline)
        contexts = np.array(gathered.contexts, np.int64)
        # An out-of-order event arrives together with the latest one before it, unless more events of its own time were still to
        # be read.
        latest_before = np.maximum.accumulate(np.maximum(ts, self._stood.get(spec.model, 0.0)))
        places = ArrivalPlaces(spec, ts, np.maximum(ts, np.minimum(latest_before, complete)))
        held = self._by_model[spec.model]
        grouped = self._grouped(spec, contexts, places)
        if grouped is None:
            size = 16 + 16 * (len(columns.features.names) + len(columns.results.names) + len(columns.categories))
            for arrival, rows in places.by_quantum():
                for some in _portions(rows, size):
                    part = data_rows.take(columns, some) if len(some) < len(contexts) else columns
                    held.rows.append(self._rows(version, arrival, contexts[some], ts[some], data=data_rows.pack(part)))
            held.columns.append(columns)
        for breakdown, (order, starts, names) in grouped or ():
            for (segment, code), profile in zip(names, columns.group(order, starts, not breakdown), strict=True):
                _merge_into(held.data, ProfileKey(version, segment, *places.of(code)), profile)
            if not breakdown:
                for (_, code), latest in zip(names, np.maximum.reduceat(ts[order], starts).tolist(), strict=True):
                    place = ProfileKey(version, (), *places.of(code))
                    held.latest[place] = max(held.latest.get(place, 0.0), latest)
        if baseline is not None and baseline.confidence_is == "predicted" and columns.other_results is not None:
            columns.results = columns.other_results
        self.samples.add_predictions(version, spec, columns, gathered.events, contexts)

    def _add_outcomes(
        self, version: str, spec: ModelSpec, columns: OutcomeColumns, table: NDArray[np.void],
        arrived: NDArray[np.float64], first: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        self._names.classes(columns, spec)
        contexts = table["context"].astype(np.int64)
        baseline = self._registry.baseline(spec.model, version)
        columns.codes = self._searched.codes(columns.ids, contexts, baseline)
        places = ArrivalPlaces(spec, table["ts"], arrived)
        held = self._by_model[spec.model]
        grouped = self._grouped(spec, contexts, places)
        if grouped is None:
            given = OutcomeTable.of(columns)
            for arrival, rows in places.by_quantum():
                for some in _portions(rows, 128 + 16 * len(given.more)):
                    packed = (given.take(some) if len(some) < len(contexts) else given).pack()
                    held.rows.append(self._rows(version, arrival, contexts[some], table["ts"][some], outcome=packed))
            held.columns.append(columns)
        groups = OutcomeGroups(columns) if grouped else None
        for breakdown, (order, starts, names) in grouped or ():
            assert groups is not None
            for (segment, code), profile in zip(names, groups.group(order, starts, not breakdown), strict=True):
                _merge_into(held.outcomes, ProfileKey(version, segment, *places.of(code)), profile)
        if baseline is not None and baseline.confidence_is == "predicted" and columns.other_score is not None:
            columns.score = columns.other_score
        self.samples.add_outcomes(version, spec, columns, table, first)

    def _grouped(
        self, spec: ModelSpec, contexts: NDArray[np.int64], places: ArrivalPlaces
    ) -> list[tuple[tuple[str, ...], Runs]] | None:
        """The rows of each breakdown by segment and place; None if profiles of them would hold few rows each."""
        if len(contexts) < MIN_ROWS:
            return None
        unique, dense = np.unique(contexts, return_inverse=True)
        values = list(map(self._values_of, unique.tolist()))
        found = [(of, Segments(values, of).runs(dense, places.codes)) for of in ((), *spec.segments)]
        rows = sum(len(runs.order) for _, runs in found)
        profiles = sum(len(runs.starts) for _, runs in found)
        return [of for of in found if of[1].owners] if rows >= MIN_ROWS * profiles else None

    def _values_of(self, context: int) -> Segment:
        return self._contexts[context].values

    def _rows(
        self, version: str, arrival: float, contexts: NDArray[np.int64], ts: NDArray[np.float64], *,
        data: bytes | None = None, outcome: bytes | None = None,
    ) -> RowsDelta:  # fmt: skip
        numbers: dict[int, int] = {}
        codes = np.array([numbers.setdefault(of, len(numbers)) for of in contexts.tolist()], np.uint32)
        values = tuple(map(self._values_of, numbers))
        return RowsDelta(version, arrival, values, codes.tobytes(), ts.tobytes(), data, outcome)

    def parts(self, model: str) -> Iterator[Part]:
        """Everything of ``model`` as parts of a delta."""
        held = self._by_model[model]
        yield from held.rows
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
        """The request ids that are examples in the model's profiles, or whose rows may become examples."""
        held = self._by_model[model]
        for data in held.data.values():
            yield from chain.from_iterable(data.examples.values())
        for outcome in held.outcomes.values():
            yield from outcome.examples
        for columns in held.columns:
            yield from columns.examples()

    def clear(self) -> None:
        self._by_model.clear()
        self.samples.clear()


def _merge_into(held: dict[Any, Any], key: Any, profile: Any) -> None:
    own = held.get(key)
    if own is None:
        held[key] = profile
    else:
        own.merge(profile)


def _portions(rows: NDArray[np.intp], size: int) -> Iterator[NDArray[np.intp]]:
    """Divide row indices (n), of rows of about ``size`` bytes each, into portions that fit into a part."""
    most = max(MAX_PART_BYTES // size, 1)
    for start in range(0, len(rows), most):
        yield rows[start : start + most]
