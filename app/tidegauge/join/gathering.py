"""What a join task gathers between two checkpoints: rows become columns, columns profiles, profiles one delta a model."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.detect import value_streams
from tidegauge.engine import delta
from tidegauge.engine.arrival_quanta import ArrivalPlaces
from tidegauge.engine.delta import Delta, ProfileDelta, Samples, Segment
from tidegauge.engine.events import Prediction
from tidegauge.engine.stage import PROFILES, Output
from tidegauge.join.columns import OutcomeRow, data_columns, joined_columns, outcome_columns
from tidegauge.join.contexts import Context
from tidegauge.join.grouping import runs, segment_code
from tidegauge.join.pairing import Pairs
from tidegauge.join.progress import Progress
from tidegauge.models.registry import Registry
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeColumns, OutcomeGroups, OutcomeProfile
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec

MAX_DELTA_BYTES = 4 << 20
_TIMES = np.dtype(
    [("context", np.int64), ("ts", np.float64), ("label_ts", np.float64), ("arrived", np.float64), ("first", bool)]
)


Place = tuple[str, str, Segment, int, float]
"""Model, version, segment, pane, and the start of the quantum of event time of arrival."""


class _Version:
    """The rows of one version since the last flush: predictions and the context of each, outcomes row by row, and outcomes
    as joined entries (see ``join/request_state.py``) and the request id of each."""

    __slots__ = ("contexts", "events", "joined", "outcomes", "request_ids")

    def __init__(self) -> None:
        self.events: list[Prediction] = []
        self.contexts: list[int] = []
        self.outcomes: list[OutcomeRow] = []
        self.joined: list[NDArray[np.void]] = []
        self.request_ids: list[bytes] = []


class Gathering:
    """The buffers of one join task. ``contexts`` are those of ``Contexts.by_id``."""

    def __init__(self, partition: int, contexts: list[Context], registry: Registry, spec: Callable[[str], ModelSpec]) -> None:
        self._partition, self._contexts, self._registry, self._spec = partition, contexts, registry, spec
        self._versions: dict[tuple[str, str], _Version] = {}
        self._data: dict[Place, DataProfile] = {}
        self._latest: dict[Place, float] = {}
        self._outcomes: dict[Place, OutcomeProfile] = {}
        self.pairs = Pairs(contexts.__getitem__, spec)
        self._paired: dict[Place, dict[str, PairProfile]] = {}
        self._samples: list[tuple[str, Samples]] = []
        self._stood: dict[str, float] = {}

    def predicted(self, events: list[Prediction], contexts: list[int]) -> list[tuple[str, float]]:
        """Queue predictions and the number of each one's context; the largest ``ts`` of each version, with its model."""
        latest = []
        different = set(contexts)
        for name, members in self._by_version(different).items():
            chosen, numbers = events, contexts
            if len(members) < len(different):
                chosen = [event for event, context in zip(events, contexts, strict=True) if context in members]
                numbers = [context for context in contexts if context in members]
            version = self._version(name)
            version.events.extend(chosen)
            version.contexts.extend(numbers)
            latest.append((name[0], float(max([event.ts for event in chosen]))))
        return latest

    def joined(self, table: NDArray[np.void], request_ids: list[bytes]) -> list[tuple[str, float]]:
        """Queue outcomes known for the first time, as joined entries; the largest label ``ts`` of each version, with its
        model."""
        latest = []
        contexts = np.unique(table["context"]).tolist()
        for name, members in self._by_version(contexts).items():
            chosen, ids = table, request_ids
            if len(members) < len(contexts):
                flags = np.isin(table["context"], list(members))
                chosen, ids = table[flags], [request_ids[place] for place in np.flatnonzero(flags).tolist()]
            version = self._version(name)
            version.joined.append(chosen)
            version.request_ids.extend(ids)
            latest.append((name[0], float(chosen["label_ts"].max())))
        return latest

    def _by_version(self, contexts: Iterable[int]) -> dict[tuple[str, str], set[int]]:
        found: dict[tuple[str, str], set[int]] = {}
        for context in contexts:
            of = self._contexts[context]
            found.setdefault((of.model, of.version), set()).add(context)
        return found

    def outcome(self, row: OutcomeRow) -> None:
        of = self._contexts[row.context]
        self._version((of.model, of.version)).outcomes.append(row)

    def _version(self, name: tuple[str, str]) -> _Version:
        version = self._versions.get(name)
        if version is None:
            version = self._versions[name] = _Version()
        return version

    def flush(self) -> None:
        """Settle the rows under the specs and baselines of now."""
        for (model, version), gathered in self._versions.items():
            spec = self._spec(model)
            if gathered.events:
                self._flush_data(model, version, spec, gathered)
            if gathered.outcomes:
                rows = gathered.outcomes
                table = np.array([(row.context, row.ts, row.label_ts, row.arrived, row.first) for row in rows], _TIMES)
                columns = outcome_columns(rows, spec)
                self._flush_outcomes(model, version, spec, columns, table, table["arrived"], table["first"])
            if gathered.joined:
                table = np.concatenate(gathered.joined)
                columns = joined_columns(table, gathered.request_ids, spec)
                arrived = np.maximum(table["label_ts"], table["ts"])
                self._flush_outcomes(model, version, spec, columns, table, arrived, np.ones(len(table), bool))
        for (model, first, second), where, profile in self.pairs.flush():
            _merge_into(self._paired.setdefault((model, first, (), *where), {}), second, profile)
        self._versions.clear()

    def flushed(self, progress: Mapping[str, Progress]) -> None:
        """Note how far each model's predictions have come with the rows settled so far."""
        self._stood = {model: of.predictions for model, of in progress.items()}

    def _flush_data(self, model: str, version: str, spec: ModelSpec, gathered: _Version) -> None:
        baseline = self._registry.baseline(model, version)
        columns = data_columns(gathered.events, spec, baseline.schema if baseline else None)
        ts = np.array([event.ts for event in gathered.events])
        contexts = np.array(gathered.contexts, np.int64)
        # What comes out of order arrives when the latest before it did.
        places = ArrivalPlaces(spec, ts, np.maximum.accumulate(np.maximum(ts, self._stood.get(model, 0.0))))
        for breakdown in ((), *spec.segments):
            order, starts, names = runs(self._contexts, breakdown, contexts, places.codes)
            if not len(starts):
                continue
            for (segment, code), profile in zip(names, columns.group(order, starts, not breakdown), strict=True):
                _merge_into(self._data, (model, version, segment, *places.of(code)), profile)
            if not breakdown:
                for (_, code), latest in zip(names, np.maximum.reduceat(ts[order], starts).tolist(), strict=True):
                    place = (model, version, (), *places.of(code))
                    self._latest[place] = max(self._latest.get(place, 0.0), latest)
        wanted = [s for s in {d.stream for d in spec.detectors} if s in value_streams.PREDICTIONS]
        if wanted:
            ties = np.array([zlib.crc32(event.request_id.encode()) for event in gathered.events], np.uint32)
            for stream in wanted:
                row = columns.results.names.index(stream)
                values = columns.results.x[row]
                self._sample(model, version, spec, stream, contexts, ts, ties, value_streams.hour_of_week(ts), values)

    def _flush_outcomes(
        self, model: str, version: str, spec: ModelSpec, columns: OutcomeColumns, table: NDArray[np.void],
        arrived: NDArray[np.float64], first: NDArray[np.bool_],
    ) -> None:  # fmt: skip
        contexts = table["context"].astype(np.int64)
        places = ArrivalPlaces(spec, table["ts"], arrived)
        groups = OutcomeGroups(columns)
        for breakdown in ((), *spec.segments):
            order, starts, names = runs(self._contexts, breakdown, contexts, places.codes)
            if len(starts):
                for (segment, code), profile in zip(names, groups.group(order, starts), strict=True):
                    _merge_into(self._outcomes, (model, version, segment, *places.of(code)), profile)
        wanted = [s for s in {d.stream for d in spec.detectors} if s in value_streams.OUTCOMES]
        if wanted:
            times, hours = table["label_ts"][first], value_streams.hour_of_week(table["ts"])[first]
            ties = np.fromiter(map(zlib.crc32, columns.ids), np.uint32, len(first))[first]
            for stream in wanted:
                values = value_streams.outcome_values(columns, stream)[first]
                self._sample(model, version, spec, stream, contexts[first], times, ties, hours, values)

    def _sample(
        self, model: str, version: str, spec: ModelSpec, stream: str, contexts: NDArray[np.int64],
        times: NDArray[np.float64], ties: NDArray[np.uint32], hours: NDArray[np.uint8], values: NDArray[np.float64],
    ) -> None:  # fmt: skip
        fed = ~np.isnan(values)
        unique, inverse = np.unique(contexts, return_inverse=True)
        for breakdown in _sampled_breakdowns(spec, stream):
            segments: dict[Segment, int] = {}
            codes = np.array([segment_code(self._contexts[c].values, breakdown, segments) for c in unique.tolist()])
            for segment, code in segments.items():
                rows = fed & (codes[inverse] == code)
                if rows.any():
                    raw = (times[rows].tobytes(), ties[rows].tobytes(), values[rows].tobytes(), hours[rows].tobytes())
                    self._samples.append((model, Samples(version, segment, stream, *raw)))

    def outputs(
        self, model: str, now: float, times: tuple[float, float, float], roles: dict[str, str], traces: dict[str, str]
    ) -> list[Output]:
        """What the flushes since the last ``clear`` say about ``model``; ``times``: a delta's watermarks, and ``read``;
        ``traces``: the trace contexts of its ``examples``."""
        parts: list[list[ProfileDelta]] = [[]]
        size = 0
        for place in dict.fromkeys((*self._data, *self._outcomes, *self._paired)):
            if place[0] != model:
                continue
            data, outcome = self._data.get(place), self._outcomes.get(place)
            profile = ProfileDelta(
                *place[1:],
                None if data is None else data.pack(),
                None if outcome is None or outcome.empty() else outcome.pack(),
                {other: of.pack() for other, of in self._paired.get(place, {}).items() if not of.empty()},
                self._latest.get(place, 0.0),
            )
            size += len(profile.data or b"") + len(profile.outcome or b"") + sum(map(len, profile.pairs.values()))
            if size > MAX_DELTA_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(profile)
        samples = tuple(s for owner, s in self._samples if owner == model)
        outputs: list[Output] = []
        for number, part in enumerate(parts, 1):
            # Only the last part moves event time on: a window must not close between two parts of one delta.
            last = number == len(parts)
            predicted, labelled, read = times if last else (0.0, 0.0, 0.0)
            message = Delta(
                self._partition,
                model,
                now,
                False,
                predicted,
                labelled,
                tuple(part),
                samples if last else (),
                roles,
                read,
                {} if outputs else traces,
            )
            outputs.append(Output(PROFILES, model.encode(), delta.encode(message)))
        return outputs

    def examples(self, model: str) -> Iterator[str]:
        """Request ids that the profiles of ``model`` hold as examples."""
        for place, data in self._data.items():
            if place[0] == model:
                yield from chain.from_iterable(data.examples.values())
        for place, outcome in self._outcomes.items():
            if place[0] == model:
                yield from outcome.examples

    def clear(self) -> None:
        self._data.clear()
        self._latest.clear()
        self._outcomes.clear()
        self._paired.clear()
        self._samples.clear()


def _sampled_breakdowns(spec: ModelSpec, stream: str) -> set[tuple[str, ...]]:
    wanted: set[tuple[str, ...]] = set()
    for detector in spec.detectors:
        if detector.stream == stream:
            wanted.add(())
            if detector.segments is True:
                wanted.update(spec.segments)
            elif detector.segments:
                wanted.update((dimension,) for dimension in detector.segments)
    return wanted


def _merge_into(held: dict[Any, Any], key: Any, profile: Any) -> None:
    own = held.get(key)
    if own is None:
        held[key] = profile
    else:
        own.merge(profile)
