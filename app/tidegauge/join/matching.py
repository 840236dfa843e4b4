"""Predictions and labels meet by request id: duplicates, corrections, labels before their prediction, several versions.

A chunk is looked up at once. What is met for the first time is joined column by column; everything else (an entry of
another form than the usual, a request twice in the chunk) one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.events import Label, Prediction
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import LABELS, PREDICTIONS, InputRecord, Store
from tidegauge.join import request_state
from tidegauge.join.columns import OutcomeRow
from tidegauge.join.contexts import Context
from tidegauge.join.gathering import Gathering
from tidegauge.join.progress import TaskProgress
from tidegauge.join.request_state import EARLY, JOINED, LAYOUTS, OPEN, UNDATED, KeptPrediction, KnownOutcome, RequestState
from tidegauge.spec import ModelSpec

REQUEST, PENDING = b"r", b"n"
NOTHING = 255
"""Stands for the form of an entry where there is none."""


class Matching:
    """The requests of one join task. ``contexts`` are those of ``Contexts.by_id``.

    ``pending`` counts the requests of which only the prediction or only the label is known.
    """

    def __init__(
        self,
        store: Store,
        contexts: list[Context],
        gathered: Gathering,
        progress: TaskProgress,
        spec: Callable[[str], ModelSpec],
        counters: Counter[tuple[str, str]],
    ) -> None:
        self._store, self._contexts, self._gathered = store, contexts, gathered
        self._progress, self._spec, self._counters = progress, spec, counters
        self.pending = int(store.get(PENDING) or 0)

    def _look_up(self, events: Sequence[Prediction] | Sequence[Label]) -> tuple[list[bytes], list[bytes | None], set[int]]:
        """Keys, what stands under them, and the places of events whose request came before in this chunk."""
        keys = [REQUEST + event.request_id.encode() for event in events]
        repeated: set[int] = set()
        if len(set(keys)) < len(keys):
            seen: set[bytes] = set()
            for place, key in enumerate(keys):
                if key in seen:
                    repeated.add(place)
                seen.add(key)
        return keys, self._store.get_many(keys), repeated

    # -- predictions ---------------------------------------------------------------------------------------------

    def predictions(self, events: list[Prediction], contexts: list[int]) -> None:
        """Take predictions and the number of each one's context."""
        if not events:
            return
        keys, raws, repeated = self._look_up(events)
        values = [None if e.error is not None or e.prediction is msgspec.UNSET else e.prediction for e in events]
        packed = None
        if not any([event.probabilities for event in events]):
            packed = request_state.pack_values(values)
        places: Sequence[int] = range(len(events))
        times = [event.ts for event in events]
        since = sortable_second(float(min(times)))
        if packed is not None:
            table = np.empty(len(events), LAYOUTS[OPEN])
            table["second"], table["form"] = int.from_bytes(since, "big"), OPEN
            table["context"], table["ts"] = contexts, times
            table["kind"], table["value"] = packed
            table["score"] = [event.score for event in events]
            places = self._take_new(table, keys, raws, repeated)
        again = {
            place
            for place in places
            if not self._take_prediction(
                KeptPrediction(
                    contexts[place], float(times[place]), values[place], events[place].score, events[place].probabilities
                ),
                keys[place],
                self._store.get(keys[place]) if place in repeated else raws[place],
                since,
            )
        }
        if again:
            self._counters["duplicate", PREDICTIONS] += len(again)
            events = [event for place, event in enumerate(events) if place not in again]
            contexts = [context for place, context in enumerate(contexts) if place not in again]
        for model, ts in self._gathered.predicted(events, contexts):
            self._progress.predicted(model, ts)

    def _take_new(self, table: NDArray[np.void], keys: list[bytes], raws: list[bytes | None], repeated: set[int]) -> list[int]:
        """Take the predictions whose request is new or has but an early label; the places of the others."""
        if not repeated and not any(raws):
            self._store.put_many(dict(zip(keys, request_state.raws(OPEN, table), strict=True)))
            self.pending += len(keys)
            return []
        new, early, others = _by_entry(raws, repeated, EARLY)
        opened = request_state.raws(OPEN, table[new])
        self._store.put_many({keys[place]: raw for place, raw in zip(new, opened, strict=True)})
        self.pending += len(new)
        if early:
            labels = request_state.rows(EARLY, [raws[place] or b"" for place in early])
            self._join(request_state.joined(table[early], labels), [keys[place] for place in early])
        return others

    def _take_prediction(self, made: KeptPrediction, key: bytes, raw: bytes | None, since: bytes) -> bool:
        """Take one prediction; False if it is a duplicate."""
        if raw is None:
            self._store.put(key, request_state.encode(since, RequestState([made])))
            self.pending += 1
            return True
        entry = request_state.decode(raw)
        if any(self._same_version(made.context, other.context) for other in entry.predictions):
            return False
        if entry.predictions:
            self._gathered.pairs.predicted(made, entry.predictions, entry.known)
            since = raw[:4]
        entry.predictions.append(made)
        self._store.put(key, request_state.encode(since, entry))
        if entry.known is not None:
            self.pending -= len(entry.predictions) == 1
            self._count(made, entry.known, 1, True, key)
        return True

    def _same_version(self, a: int, b: int) -> bool:
        if a == b:
            return True
        x, y = self._contexts[a], self._contexts[b]
        return x.version == y.version and x.model == y.model

    # -- labels --------------------------------------------------------------------------------------------------

    def labels(self, events: list[Label], records: list[InputRecord]) -> None:
        """Take labels and the record each one came in."""
        if not events:
            return
        keys, raws, repeated = self._look_up(events)
        times = [event.ts for event in events]
        self._progress.labels_read = max(self._progress.labels_read, float(max(times)))
        packed = request_state.pack_values([event.label for event in events])
        places: Sequence[int] = range(len(events))
        if packed is not None:
            table = np.empty(len(events), LAYOUTS[EARLY])
            table["second"], table["form"] = 0, EARLY
            table["label_kind"], table["label"] = packed
            table["label_ts"] = times
            table["offset"] = [record.offset for record in records]
            table["arrived"] = [record.timestamp for record in records]
            repeated.update(place for place, event in enumerate(events) if event.business)
            places = self._take_first(table, keys, raws, repeated)
        for place in places:
            raw = self._store.get(keys[place]) if place in repeated else raws[place]
            self._take_label(events[place], records[place], keys[place], raw)

    def _take_first(self, table: NDArray[np.void], keys: list[bytes], raws: list[bytes | None], apart: set[int]) -> list[int]:
        """Take the labels that are the first of their request, known or not, but those ``apart``; the places of the
        others."""
        new, opened, others = _by_entry(raws, apart, OPEN)
        early = request_state.raws(EARLY, table[new])
        self._store.put_many({keys[place]: raw for place, raw in zip(new, early, strict=True)})
        self.pending += len(new)
        if new:
            self._counters["waiting", LABELS] += len(new)
        if opened:
            predicted = request_state.rows(OPEN, [raws[place] or b"" for place in opened])
            self._join(request_state.joined(predicted, table[opened]), [keys[place] for place in opened])
        return others

    def _take_label(self, event: Label, record: InputRecord, key: bytes, raw: bytes | None) -> None:
        entry = RequestState([]) if raw is None else request_state.decode(raw)
        old = entry.known
        new = request_state.updated(old, event, record)
        if new is None:
            self._counters["duplicate", LABELS] += 1
            return
        entry.known = new
        self._store.put(key, request_state.encode(raw[:4] if raw else UNDATED, entry))
        if old is None:
            self.pending += -1 if entry.predictions else 1
        if not entry.predictions:
            self._counters["waiting", LABELS] += old is None
            return
        if old is not None:
            same = old.label == new.label and old.business == new.business
            self._counters["duplicate" if same else "corrected", LABELS] += 1
        if len(entry.predictions) > 1:
            self._gathered.pairs.labelled(entry.predictions, old, new)
        for made in entry.predictions:
            if old is not None:
                self._count(made, old, -1, False, key, max(new.ts, new.business_ts))
            self._count(made, new, 1, old is None or (old.label is None and new.label is not None), key)

    # -- outcomes ------------------------------------------------------------------------------------------------

    def _join(self, table: NDArray[np.void], keys: list[bytes]) -> None:
        """Store and queue outcomes known for the first time, of requests that were pending."""
        self._store.put_many(dict(zip(keys, request_state.raws(JOINED, table), strict=True)))
        self.pending -= len(keys)
        contexts = np.unique(table["context"]).tolist()
        horizons = {self._spec(self._contexts[context].model).label_horizon for context in contexts}
        delays = table["label_ts"] - table["ts"]
        if delays.max() > min(horizons):
            of = {context: self._spec(self._contexts[context].model).label_horizon for context in contexts}
            late = delays > [of[context] for context in table["context"].tolist()]
            self._counters["expired", LABELS] += int(late.sum())
            table = table[~late]
            keys = [key for key, past in zip(keys, late.tolist(), strict=True) if not past]
        if keys:
            self._counters["joined", LABELS] += len(keys)
            for model, ts in self._gathered.joined(table, [key[1:] for key in keys]):
                self._progress.labelled(model, ts)

    def _count(
        self, made: KeptPrediction, known: KnownOutcome, sign: int, first: bool, key: bytes, arrived: float = 0.0
    ) -> None:
        """Queue one outcome, unless the label is past the horizon. It ``arrived`` with its label, if nothing is said."""
        context = self._contexts[made.context]
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
        self._progress.labelled(context.model, ts)


def _by_entry(raws: list[bytes | None], apart: set[int], form: int) -> tuple[list[int], list[int], list[int]]:
    """Places of what is met for the first time, of what has an entry of ``form``, and of the rest, with those ``apart``."""
    forms = np.frombuffer(bytes([NOTHING if raw is None else raw[4] for raw in raws]), np.uint8)
    alone = np.ones(len(raws), bool)
    alone[list(apart)] = False
    new, known = alone & (forms == NOTHING), alone & (forms == form)
    others = ~(new | known)
    return np.flatnonzero(new).tolist(), np.flatnonzero(known).tolist(), np.flatnonzero(others).tolist()
