"""The join stage: predictions and labels of one partition, joined by request id, summed up in profile deltas.

Its only lasting state is the join: under ``r<request id>`` the predictions of that request and its label, kept until
the label horizon (and a day) has passed, so that duplicates are known and corrections can be taken back; and the
interned contexts (``contexts.py``). Everything else is buffered between checkpoints and lost with impunity.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge import delta, streams
from tidegauge.columns import OutcomeRow, data_columns, outcome_columns
from tidegauge.contexts import Contexts, model_of_event
from tidegauge.delta import Delta, ProfileDelta, Samples, Segment
from tidegauge.errors import EventError
from tidegauge.events import DeadLetter, Decoder, Label, Prediction
from tidegauge.pairing import Pairs
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeGroups, OutcomeProfile
from tidegauge.profile.pairs import PairProfile
from tidegauge.registry import Registry
from tidegauge.spec import ModelSpec, class_name
from tidegauge.stage import DEAD_LETTERS, LABELS, PREDICTIONS, PROFILES, InputRecord, Output, Store

KEPT_BEYOND_HORIZON = 86400.0
"""Seconds an entry outlives the label horizon, for labels that travel slowly."""
HEARTBEAT_SECONDS = 2.0
MAX_ROWS = 50_000
MAX_DELTA_BYTES = 4 << 20
REQUEST, WATERMARK, PENDING = b"r", b"w", b"n"


class Predicted(msgspec.Struct, array_like=True, gc=False):
    """One prediction as the join keeps it."""

    context: int
    ts: float
    value: int | float | str | bool | None
    score: float | None
    probabilities: dict[str, float | None] | None = None


class Known(msgspec.Struct, array_like=True, gc=False):
    """What is known of a request's outcome: its label and its business values, each with when and where it was said.

    ``arrived``: record timestamp in ms of the latest label event.
    """

    label: int | float | str | bool | None
    ts: float
    offset: int
    business: dict[str, float] | None
    business_ts: float
    business_offset: int
    arrived: int


class Entry(msgspec.Struct, array_like=True, gc=False):
    """What stands under a request id, behind four bytes: a second (big endian) its prediction is not older than."""

    predictions: list[Predicted]
    known: Known | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
UNDATED = b"\0\0\0\0"


def _second(ts: float) -> bytes:
    return min(max(int(ts), 0), 0xFFFFFFFF).to_bytes(4, "big")


def _decode(raw: bytes) -> Entry:
    return _decode_entry(raw[4:])


_pack = msgspec.msgpack.Encoder().encode
_unpack_watermark = msgspec.msgpack.Decoder(tuple[float, float]).decode


class _Version:
    """What one version gathered since the last flush."""

    __slots__ = ("contexts", "events", "outcomes")

    def __init__(self) -> None:
        self.events: list[Prediction] = []
        self.contexts: list[int] = []
        self.outcomes: list[OutcomeRow] = []


class JoinStage:
    """One partition of the join. ``counters`` counts (name, label) pairs for /metrics, shared by a worker's tasks."""

    def __init__(
        self,
        partition: int,
        store: Store,
        registry: Registry,
        profile_partitions: int,
        counters: Counter[tuple[str, str]],
    ) -> None:
        self._partition, self._store, self._registry = partition, store, registry
        self._profile_partitions, self._counters = profile_partitions, counters
        self._contexts = Contexts(store)
        self._predictions, self._labels = Decoder(Prediction), Decoder(Label)
        self._context_ids: dict[Any, int] = {}
        self._revision = registry.revision
        self._versions: dict[tuple[str, str], _Version] = {}
        self._rows = self._rows_since = 0
        self._data: dict[tuple[str, str, Segment, int], DataProfile] = {}
        self._outcomes: dict[tuple[str, str, Segment, int], OutcomeProfile] = {}
        self._pairs = Pairs(self._contexts.by_id.__getitem__, self._spec)
        self._paired: dict[tuple[tuple[str, str, str], int], PairProfile] = {}
        self._samples: list[tuple[str, Samples]] = []
        self._dead: list[Output] = []
        self.pending = int(store.get(PENDING) or 0)
        self._roles: dict[str, dict[str, str]] = {}
        self.watermarks: dict[str, tuple[float, float]] = {
            key[1:].decode(): _unpack_watermark(raw) for key, raw in store.scan(WATERMARK)
        }
        self._touched: set[str] = set()
        self._oldest = UNDATED
        self._beat, self._idle, self._now = 0.0, False, 0.0
        self._specs: dict[str, ModelSpec] = {}

    # -- records in ----------------------------------------------------------------------------------------------

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        if self._revision != self._registry.revision:
            # What is buffered was read under the old specs and baselines: settle it under them first.
            self._flush()
            self._revision = self._registry.revision
            self._context_ids.clear()
            self._specs.clear()
        self._counters["events", topic] += len(records)
        if topic == PREDICTIONS:
            predictions, taken, dead = self._predictions.chunk(records)
            self._take_predictions(predictions, taken)
        elif topic == LABELS:
            labels, taken, dead = self._labels.chunk(records)
            self._take_labels(labels, taken)
        else:
            raise AssertionError(f"the join stage reads predictions and labels, not {topic}")
        for letter in dead:
            self._bury(topic, letter)
        if self._rows >= MAX_ROWS:
            self._flush()

    def _bury(self, topic: str, letter: DeadLetter) -> None:
        self._counters["dead_lettered", letter.reason] += 1
        record = letter.record
        self._dead.append(
            Output(
                DEAD_LETTERS,
                record.key,
                record.value,
                headers=(
                    ("reason", letter.reason.encode()),
                    ("message", letter.reason.encode() + b": " + str(letter.message).encode("utf-8", "replace")[:500]),
                    ("topic", topic.encode()),
                    ("partition", str(self._partition).encode()),
                    ("offset", str(record.offset).encode()),
                ),
            )
        )

    def _spec(self, model: str) -> ModelSpec:
        spec = self._specs.get(model)
        if spec is None:
            spec = self._specs[model] = self._registry.spec(model)
        return spec

    def _entries(self, events: Sequence[Prediction] | Sequence[Label]) -> tuple[list[bytes], list[bytes | None], bool]:
        keys = [REQUEST + event.request_id.encode() for event in events]
        return keys, self._store.get_many(keys), len(set(keys)) < len(keys)

    def _take_predictions(self, events: list[Prediction], records: list[InputRecord]) -> None:
        keys, entries, repeats = self._entries(events)
        put, cache, seen = self._store.put, self._context_ids, set()
        latest: dict[str, float] = {}
        duplicates = 0
        since = _second(min((event.ts for event in events), default=0.0))  # type: ignore[arg-type]
        for event, record, key, raw in zip(events, records, keys, entries, strict=True):
            if repeats:
                # An earlier event of this very chunk may have changed the entry.
                if key in seen:
                    raw = self._store.get(key)
                seen.add(key)
            given = event.segments
            mark = (
                event.model, event.model_version, event.role, tuple(given.items()) if type(given) is dict else given
            )  # fmt: skip
            context = cache.get(mark)
            if context is None:
                try:
                    context = self._context(event, mark)
                except EventError as error:
                    self._bury(PREDICTIONS, DeadLetter(record, error.reason, str(error)))
                    continue
            if event.score is None and (event.confidence is not None or event.probabilities):
                event.score = self._score(event, context)
            value = event.prediction
            if value is msgspec.UNSET or event.error is not None:
                value = None
            made = Predicted(context, event.ts, value, event.score, event.probabilities)  # type: ignore[arg-type]
            if raw is None:
                put(key, since + _encode(Entry([made])))
                self.pending += 1
            else:
                entry = _decode(raw)
                if any(self._same_version(context, other.context) for other in entry.predictions):
                    duplicates += 1
                    continue
                if entry.predictions:
                    self._pairs.predicted(made, entry.predictions, entry.known)
                entry.predictions.append(made)
                put(key, (since if entry.known and len(entry.predictions) == 1 else raw[:4]) + _encode(entry))
                if entry.known is not None:
                    self.pending -= len(entry.predictions) == 1
                    self._count(made, entry.known, 1, True, key)
            version = self._version_of(context)
            version.events.append(event)
            version.contexts.append(context)
            model = self._contexts.by_id[context].model
            if event.ts > latest.get(model, 0.0):  # type: ignore[operator]
                latest[model] = event.ts  # type: ignore[assignment]
        self._rows += len(events)
        self._rows_since += len(events)
        if duplicates:
            self._counters["duplicate", PREDICTIONS] += duplicates
        for model, ts in latest.items():
            seen_ts, label_ts = self.watermarks.get(model, (0.0, 0.0))
            self.watermarks[model] = (max(seen_ts, ts), label_ts)
            self._touched.add(model)

    def _same_version(self, a: int, b: int) -> bool:
        if a == b:
            return True
        x, y = self._contexts.by_id[a], self._contexts.by_id[b]
        return x.version == y.version and x.model == y.model

    def _context(self, event: Prediction, mark: Any) -> int:
        model = model_of_event(event)
        context = self._contexts.id_of(event, model, self._spec(model))
        if len(self._context_ids) > 200_000:
            self._context_ids.clear()
        self._context_ids[mark] = context
        if event.role:
            self._roles.setdefault(model, {})[event.model_version] = event.role
        return context

    def _version_of(self, context: int) -> _Version:
        found = self._contexts.by_id[context]
        name = (found.model, found.version)
        version = self._versions.get(name)
        if version is None:
            version = self._versions[name] = _Version()
        return version

    def _score(self, event: Prediction, context: int) -> float | None:
        spec = self._spec(self._contexts.by_id[context].model)
        if event.confidence is None:
            probabilities = event.probabilities or {}
            if spec.task in (None, "binary"):
                return probabilities.get(spec.positive_label)
            return max((p for p in probabilities.values() if p is not None), default=None)
        given = event.prediction
        if spec.confidence_is == "predicted" and spec.task != "multiclass" and given is not msgspec.UNSET:
            if given is None:
                return None
            return event.confidence if class_name(given) == spec.positive_label else 1.0 - event.confidence
        return event.confidence

    def _take_labels(self, events: list[Label], records: list[InputRecord]) -> None:
        keys, entries, repeats = self._entries(events)
        put, seen = self._store.put, set()
        duplicates = waiting = 0
        for event, record, key, raw in zip(events, records, keys, entries, strict=True):
            if repeats:
                if key in seen:
                    raw = self._store.get(key)
                seen.add(key)
            entry = Entry([]) if raw is None else _decode(raw)
            old = entry.known
            new = _updated(old, event, record)
            if new is None:
                duplicates += 1
                continue
            entry.known = new
            put(key, (raw[:4] if raw else UNDATED) + _encode(entry))
            if old is None:
                self.pending += -1 if entry.predictions else 1
            if not entry.predictions:
                waiting += old is None
                continue
            if old is not None:
                if old.label == new.label and old.business == new.business:
                    duplicates += 1
                else:
                    self._counters["corrected", LABELS] += 1
            if len(entry.predictions) > 1:
                self._pairs.labelled(entry.predictions, old, new)
            for made in entry.predictions:
                if old is not None:
                    self._count(made, old, -1, False, key)
                self._count(made, new, 1, old is None or (old.label is None and new.label is not None), key)
        self._rows += len(events)
        self._rows_since += len(events)
        if duplicates:
            self._counters["duplicate", LABELS] += duplicates
        if waiting:
            self._counters["waiting", LABELS] += waiting

    def _count(self, made: Predicted, known: Known, sign: int, first: bool, key: bytes) -> None:
        """Queue one outcome, unless the label is past the horizon."""
        context = self._contexts.by_id[made.context]
        ts = known.business_ts if known.label is None else known.ts
        if ts - made.ts > self._spec(context.model).label_horizon:
            self._counters["expired", LABELS] += sign
            return
        self._counters["joined", LABELS] += sign
        self._version_of(made.context).outcomes.append(
            OutcomeRow(
                made.context, made.ts, made.value, made.score, made.probabilities, known.label, known.business, ts,
                sign, first, key[1:],
            )
        )  # fmt: skip
        seen_ts, label_ts = self.watermarks.get(context.model, (0.0, 0.0))
        if ts > label_ts:
            self.watermarks[context.model] = (seen_ts, ts)
        self._touched.add(context.model)

    # -- columns to profiles -------------------------------------------------------------------------------------

    def _flush(self) -> None:
        for (model, version), gathered in self._versions.items():
            spec = self._spec(model)
            if gathered.events:
                self._flush_data(model, version, spec, gathered)
            if gathered.outcomes:
                self._flush_outcomes(model, version, spec, gathered.outcomes)
        for versions, pane, profile in self._pairs.flush():
            _merge_into(self._paired, (versions, pane), profile)
        self._versions.clear()
        self._rows = 0

    def _flush_data(self, model: str, version: str, spec: ModelSpec, gathered: _Version) -> None:
        baseline = self._registry.baseline(model, version)
        columns = data_columns(gathered.events, spec, baseline.schema if baseline else None)
        ts = np.array([event.ts for event in gathered.events])
        contexts = np.array(gathered.contexts)
        panes = np.floor(ts / spec.pane).astype(np.int64)
        for breakdown in ((), *spec.segments):
            order, starts, names = self._runs(breakdown, contexts, panes)
            if len(starts):
                for (segment, pane), profile in zip(names, columns.group(order, starts, not breakdown), strict=True):
                    _merge_into(self._data, (model, version, segment, pane), profile)
        wanted = [s for s in {d.stream for d in spec.detectors} if s in streams.PREDICTIONS]
        if wanted:
            ties = np.fromiter((zlib.crc32(e.request_id.encode()) for e in gathered.events), np.uint32, len(ts))
            for stream in wanted:
                row = columns.results.names.index(stream)
                values = columns.results.x[row]
                self._sample(model, version, spec, stream, contexts, ts, ties, streams.hour_of_week(ts), values)

    def _flush_outcomes(self, model: str, version: str, spec: ModelSpec, rows: list[OutcomeRow]) -> None:
        columns = outcome_columns(rows, spec)
        contexts = np.fromiter((row.context for row in rows), np.int64, len(rows))
        panes = np.floor(np.fromiter((row.ts for row in rows), np.float64, len(rows)) / spec.pane).astype(np.int64)
        groups = OutcomeGroups(columns)
        for breakdown in ((), *spec.segments):
            order, starts, names = self._runs(breakdown, contexts, panes)
            if len(starts):
                for (segment, pane), profile in zip(names, groups.group(order, starts), strict=True):
                    _merge_into(self._outcomes, (model, version, segment, pane), profile)
        wanted = [s for s in {d.stream for d in spec.detectors} if s in streams.OUTCOMES]
        if wanted:
            first = np.fromiter((row.first for row in rows), bool, len(rows))
            times = np.fromiter((row.label_ts for row in rows), np.float64, len(rows))[first]
            ties = np.fromiter((zlib.crc32(row.request_id) for row in rows), np.uint32, len(rows))[first]
            hours = streams.hour_of_week(np.fromiter((row.ts for row in rows), np.float64, len(rows)))[first]
            for stream in wanted:
                values = streams.outcome_values(columns, stream)[first]
                self._sample(model, version, spec, stream, contexts[first], times, ties, hours, values)

    def _runs(
        self, breakdown: tuple[str, ...], contexts: NDArray[np.int64], panes: NDArray[np.int64]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], list[tuple[Segment, int]]]:
        """Rows sorted by (segment, pane): the order, where each run begins, and whose it is."""
        unique, inverse = np.unique(contexts, return_inverse=True)
        segments: dict[Segment, int] = {}
        codes = np.array([_segment_code(self._contexts.by_id[c].values, breakdown, segments) for c in unique.tolist()])
        first = int(panes.min())
        span = int(panes.max()) - first + 1
        joint = codes[inverse] * span + (panes - first)
        joint[codes[inverse] < 0] = -1
        order = np.argsort(joint, kind="stable")
        ordered = joint[order]
        skip = int(np.searchsorted(ordered, 0))
        order, ordered = order[skip:], ordered[skip:]
        if not len(order):
            return order, order, []
        starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))
        names = list(segments)
        owners = [(names[j // span], j % span + first) for j in ordered[starts].tolist()]
        return order, starts, owners

    def _sample(
        self, model: str, version: str, spec: ModelSpec, stream: str, contexts: NDArray[np.int64],
        times: NDArray[np.float64], ties: NDArray[np.uint32], hours: NDArray[np.uint8], values: NDArray[np.float64],
    ) -> None:  # fmt: skip
        fed = ~np.isnan(values)
        unique, inverse = np.unique(contexts, return_inverse=True)
        for breakdown in _sampled_breakdowns(spec, stream):
            segments: dict[Segment, int] = {}
            codes = np.array([_segment_code(self._contexts.by_id[c].values, breakdown, segments) for c in unique.tolist()])
            for segment, code in segments.items():
                rows = fed & (codes[inverse] == code)
                if rows.any():
                    raw = (times[rows].tobytes(), ties[rows].tobytes(), values[rows].tobytes(), hours[rows].tobytes())
                    self._samples.append((model, Samples(version, segment, stream, *raw)))

    # -- checkpoint ----------------------------------------------------------------------------------------------

    def checkpoint(self, now: float, *, idle: bool = False) -> list[Output]:
        self._now = now
        self._flush()
        self._oldest = _second(max(map(self._cutoff, self.watermarks), default=0.0))
        outputs, self._dead = self._dead, []
        for model in sorted(self._touched):
            outputs.extend(self._delta_outputs(model, now))
            self._store.put(WATERMARK + model.encode(), _pack(self.watermarks[model]))
        if idle and (not self._idle or now - self._beat >= HEARTBEAT_SECONDS):
            beat = delta.encode(Delta(self._partition, "", now, True))
            outputs.extend(Output(PROFILES, None, beat, partition=p) for p in range(self._profile_partitions))
            self._beat = now
        self._idle = idle
        if self._touched or self._rows_since:
            self._store.put(PENDING, b"%d" % self.pending)
        self._rows_since = 0
        self._touched.clear()
        self._data.clear()
        self._outcomes.clear()
        self._paired.clear()
        self._samples.clear()
        self._roles.clear()
        return outputs

    def _delta_outputs(self, model: str, now: float) -> list[Output]:
        pairs: dict[tuple[str, str, Segment, int], dict[str, bytes]] = {}
        for ((owner, first, second), pane), paired in self._paired.items():
            if not paired.empty():
                pairs.setdefault((owner, first, (), pane), {})[second] = paired.pack()
        parts: list[list[ProfileDelta]] = [[]]
        size = 0
        for place in dict.fromkeys((*self._data, *self._outcomes, *pairs)):
            if place[0] != model:
                continue
            data, outcome = self._data.get(place), self._outcomes.get(place)
            profile = ProfileDelta(
                *place[1:],
                None if data is None else data.pack(),
                None if outcome is None or outcome.empty() else outcome.pack(),
                pairs.get(place, {}),
            )
            size += len(profile.data or b"") + len(profile.outcome or b"") + sum(map(len, profile.pairs.values()))
            if size > MAX_DELTA_BYTES:
                parts.append([])
                size = 0
            parts[-1].append(profile)
        predicted, labelled = self.watermarks[model]
        samples = tuple(s for owner, s in self._samples if owner == model)
        outputs = []
        for number, part in enumerate(parts, 1):
            # Only the last part moves event time on: a window must not close between two parts of one delta.
            last = number == len(parts)
            message = Delta(
                self._partition, model, now, False, predicted if last else 0.0, labelled if last else 0.0, tuple(part),
                samples if last else (), self._roles.get(model, {}),
            )  # fmt: skip
            outputs.append(Output(PROFILES, model.encode(), delta.encode(message)))
        return outputs

    # -- expiry --------------------------------------------------------------------------------------------------

    def expired(self, key: bytes, value: bytes) -> bool:
        if key[:1] != REQUEST or value[:4] > self._oldest:
            return False
        entry = _decode(value)
        if entry.predictions:
            return all(self._past(made) for made in entry.predictions)
        known = entry.known
        if known is None or known.arrived < 0:
            return False
        longest = max((self._spec(model).label_horizon for model in self.watermarks), default=7 * 86400.0)
        return self._now - known.arrived / 1000 > longest + KEPT_BEYOND_HORIZON

    def _past(self, made: Predicted) -> bool:
        return made.ts < self._cutoff(self._contexts.by_id[made.context].model)

    def _cutoff(self, model: str) -> float:
        """The ``ts`` before which predictions of the model are forgotten."""
        seen, _ = self.watermarks.get(model, (0.0, 0.0))
        return seen - self._spec(model).label_horizon - KEPT_BEYOND_HORIZON

    def dropped(self, key: bytes, value: bytes) -> None:
        entry = _decode(value)
        if entry.known is None or not entry.predictions:
            self.pending -= 1
        if not entry.predictions:
            self._counters["unmatched", LABELS] += 1

    @property
    def unknown_members(self) -> int:
        """Accepted events that carried members the contract does not know."""
        return self._predictions.unknown + self._labels.unknown


def _updated(old: Known | None, event: Label, record: InputRecord) -> Known | None:
    """What is known after ``event``; None if it adds nothing. Label and business values each follow their latest
    word, by ts and then offset, so that a KPI that comes after the label does not take the label back."""
    business = None
    if event.business:
        business = {kpi: float(value) for kpi, value in event.business.items() if value is not None} or None
    ts, offset, arrived = float(event.ts), record.offset, record.timestamp
    if old is None:
        return Known(event.label, ts, offset, business, ts, offset, arrived)
    label_newer = event.label is not None and (old.label is None or (ts, offset) > (old.ts, old.offset))
    business_newer = business is not None and (old.business is None or (ts, offset) > (old.business_ts, old.business_offset))
    label_changes = label_newer and (event.label != old.label or ts != old.ts)
    business_changes = business_newer and (business != old.business or (ts != old.business_ts and old.label is None))
    if not (label_changes or business_changes):
        return None
    return Known(
        event.label if label_newer else old.label,
        ts if label_newer else old.ts,
        offset if label_newer else old.offset,
        business if business_newer else old.business,
        ts if business_newer else old.business_ts,
        offset if business_newer else old.business_offset,
        arrived,
    )


def _segment_code(values: Segment, breakdown: tuple[str, ...], segments: dict[Segment, int]) -> int:
    held = dict(values)
    if not all(dimension in held for dimension in breakdown):
        return -1
    return segments.setdefault(tuple((d, held[d]) for d in breakdown), len(segments))


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
