"""The join stage: predictions and labels of one partition, joined by request id, summed up in profile deltas.

Its only lasting state is the join: under ``r<request id>`` the predictions of that request and its label, kept until
the label horizon (and a day) has passed, so that duplicates are known and corrections can be taken back; and the
interned contexts (``contexts.py``). Everything else is buffered between checkpoints and lost with impunity.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from tidegauge import delta
from tidegauge.columns import OutcomeRow
from tidegauge.contexts import Contexts, model_of_event
from tidegauge.delta import Delta
from tidegauge.entries import UNDATED, Entry, Known, Predicted, decode, encode, second, updated
from tidegauge.errors import EventError
from tidegauge.events import DeadLetter, Decoder, Label, Prediction
from tidegauge.gathering import Gathering
from tidegauge.registry import Registry
from tidegauge.spec import ModelSpec, class_name
from tidegauge.stage import DEAD_LETTERS, LABELS, PREDICTIONS, PROFILES, InputRecord, Output, Store

KEPT_BEYOND_HORIZON = 86400.0
"""Seconds an entry outlives the label horizon, for labels that travel slowly."""
HEARTBEAT_SECONDS = 2.0
MAX_ROWS = 50_000
REQUEST, WATERMARK, PENDING = b"r", b"w", b"n"


class Progress(msgspec.Struct, array_like=True, gc=False):
    """How far one model has come: the largest prediction and (joined) label ``ts``; by how much the labels' time is behind
    the predictions' when all are read; and the largest label ``ts`` of the partition, whosever it is."""

    predictions: float = 0.0
    labels: float = 0.0
    label_lag: float = 0.0
    labels_read: float = 0.0


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Progress).decode
_ts_of: Callable[[Any], float] = attrgetter("ts")


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
        self._gathered = Gathering(partition, self._contexts.by_id, registry, self._spec)
        self._predictions, self._labels = Decoder(Prediction), Decoder(Label)
        self._context_ids: dict[Any, int] = {}
        self._revision = registry.revision
        self._rows = self._rows_since = 0
        self._dead: list[Output] = []
        self.pending = int(store.get(PENDING) or 0)
        self._roles: dict[str, dict[str, str]] = {}
        self.progress: dict[str, Progress] = {key[1:].decode(): _unpack(raw) for key, raw in store.scan(WATERMARK)}
        self._labels_read = max((of.labels_read for of in self.progress.values()), default=0.0)
        self._gathered.flushed(self.progress)
        # Models of which the monitor stage was told that we lag behind.
        self._told_behind: set[str] = set()
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
        since = second(min((event.ts for event in events), default=0.0))  # type: ignore[arg-type]
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
                put(key, since + encode(Entry([made])))
                self.pending += 1
            else:
                entry = decode(raw)
                if any(self._same_version(context, other.context) for other in entry.predictions):
                    duplicates += 1
                    continue
                if entry.predictions:
                    self._gathered.pairs.predicted(made, entry.predictions, entry.known)
                entry.predictions.append(made)
                put(key, (since if entry.known and len(entry.predictions) == 1 else raw[:4]) + encode(entry))
                if entry.known is not None:
                    self.pending -= len(entry.predictions) == 1
                    self._count(made, entry.known, 1, True, key)
            self._gathered.predicted(context, event)
            model = self._contexts.by_id[context].model
            if event.ts > latest.get(model, -1.0):  # type: ignore[operator]
                latest[model] = event.ts  # type: ignore[assignment]
        self._rows += len(events)
        self._rows_since += len(events)
        if duplicates:
            self._counters["duplicate", PREDICTIONS] += duplicates
        for model, ts in latest.items():
            progress = self.progress.setdefault(model, Progress())
            progress.predictions = max(progress.predictions, ts)
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
            entry = Entry([]) if raw is None else decode(raw)
            old = entry.known
            new = updated(old, event, record)
            if new is None:
                duplicates += 1
                continue
            entry.known = new
            put(key, (raw[:4] if raw else UNDATED) + encode(entry))
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
                self._gathered.pairs.labelled(entry.predictions, old, new)
            for made in entry.predictions:
                if old is not None:
                    self._count(made, old, -1, False, key, max(new.ts, new.business_ts))
                self._count(made, new, 1, old is None or (old.label is None and new.label is not None), key)
        self._labels_read = max(self._labels_read, *map(_ts_of, events))
        self._rows += len(events)
        self._rows_since += len(events)
        if duplicates:
            self._counters["duplicate", LABELS] += duplicates
        if waiting:
            self._counters["waiting", LABELS] += waiting

    def _count(self, made: Predicted, known: Known, sign: int, first: bool, key: bytes, arrived: float = 0.0) -> None:
        """Queue one outcome, unless the label is past the horizon. It ``arrived`` with its label, if nothing is said."""
        context = self._contexts.by_id[made.context]
        ts = known.business_ts if known.label is None else known.ts
        if ts - made.ts > self._spec(context.model).label_horizon:
            self._counters["expired", LABELS] += sign
            return
        self._counters["joined", LABELS] += sign
        self._gathered.outcome(
            OutcomeRow(
                made.context, made.ts, made.value, made.score, made.probabilities, known.label, known.business, ts,
                sign, first, key[1:], max(arrived or max(known.ts, known.business_ts), made.ts),
            )
        )  # fmt: skip
        progress = self.progress.setdefault(context.model, Progress())
        progress.labels = max(progress.labels, ts)
        self._touched.add(context.model)

    def _flush(self) -> None:
        self._gathered.flush()
        self._gathered.flushed(self.progress)
        self._rows = 0

    # -- checkpoint ----------------------------------------------------------------------------------------------

    def checkpoint(self, now: float, *, idle: bool = False, behind: Container[str] = ()) -> list[Output]:
        self._now = now
        self._flush()
        self._oldest = second(max(map(self._cutoff, self.progress), default=0.0))
        outputs, self._dead = self._dead, []
        for model in sorted(self._touched | self._told_behind):
            progress, read = self.progress[model], self._read(model, behind)
            times = (progress.predictions, progress.labels, read)
            outputs.extend(self._gathered.outputs(model, now, times, self._roles.get(model, {})))
            self._store.put(WATERMARK + model.encode(), _pack(progress))
        if idle and (not self._idle or now - self._beat >= HEARTBEAT_SECONDS):
            beat = delta.encode(Delta(self._partition, "", now, True))
            outputs.extend(Output(PROFILES, None, beat, partition=p) for p in range(self._profile_partitions))
            self._beat = now
        self._idle = idle
        if self._touched or self._rows_since:
            self._store.put(PENDING, b"%d" % self.pending)
        self._rows_since = 0
        self._touched.clear()
        self._gathered.clear()
        self._roles.clear()
        return outputs

    def _read(self, model: str, behind: Container[str]) -> float:
        """Event time up to which both inputs have been read, for a model."""
        progress = self.progress[model]
        read = progress.predictions if PREDICTIONS in behind else math.inf
        if LABELS in behind:
            read = min(read, self._labels_read + progress.label_lag)
        elif self._labels_read:
            progress.label_lag = max(progress.predictions - self._labels_read, 0.0)
        progress.labels_read = self._labels_read
        (self._told_behind.add if read < math.inf else self._told_behind.discard)(model)
        return read

    # -- expiry --------------------------------------------------------------------------------------------------

    def expired(self, key: bytes, value: bytes) -> bool:
        if key[:1] != REQUEST or value[:4] > self._oldest:
            return False
        entry = decode(value)
        if entry.predictions:
            return all(self._past(made) for made in entry.predictions)
        known = entry.known
        if known is None or known.arrived < 0:
            return False
        longest = max((self._spec(model).label_horizon for model in self.progress), default=7 * 86400.0)
        return self._now - known.arrived / 1000 > longest + KEPT_BEYOND_HORIZON

    def _past(self, made: Predicted) -> bool:
        return made.ts < self._cutoff(self._contexts.by_id[made.context].model)

    def _cutoff(self, model: str) -> float:
        """The ``ts`` before which predictions of the model are forgotten."""
        return self.progress.get(model, Progress()).predictions - self._spec(model).label_horizon - KEPT_BEYOND_HORIZON

    def dropped(self, key: bytes, value: bytes) -> None:
        entry = decode(value)
        if entry.known is None or not entry.predictions:
            self.pending -= 1
        if not entry.predictions:
            self._counters["unmatched", LABELS] += 1

    @property
    def unknown_members(self) -> int:
        """Accepted events that carried members the contract does not know."""
        return self._predictions.unknown + self._labels.unknown
