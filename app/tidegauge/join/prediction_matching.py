"""Joins predictions with what is known of their request: the same prediction, that of another version, or earlier labels.

The requests of a chunk are looked up together. The first predictions of their requests are joined in columns; all others, such
as those of a request that comes twice in the chunk, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.events import Prediction
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import LABELS, PREDICTIONS, Counters
from tidegauge.join import request_state
from tidegauge.join.contexts import Context
from tidegauge.join.gathering import Gathering
from tidegauge.join.outcomes import Outcomes
from tidegauge.join.pairing import pair_label
from tidegauge.join.request_state import EARLY, JOINED, LAYOUTS, OPEN, KeptPrediction, RequestState
from tidegauge.join.requests import RequestLookup, Requests
from tidegauge.join.waiting_rows import NewestEventTime

SAME_REQUEST_SECONDS = 60.0
"""A request that is sent again has nearly the same ts. If those of two predictions under one id are further apart, the id is
taken to name two requests."""


class PredictionMatching:
    """Joins the predictions of one join task. ``contexts``: those of ``Contexts.by_id``."""

    def __init__(
        self,
        requests: Requests,
        contexts: Sequence[Context],
        gathered: Gathering,
        outcomes: Outcomes,
        counters: Counters,
    ) -> None:
        self._requests, self._contexts, self._gathered = requests, contexts, gathered
        self._outcomes, self._counters = outcomes, counters

    def take(self, events: list[Prediction], contexts: list[int]) -> list[NewestEventTime]:
        """Join predictions; return the newest of each version. ``contexts``: the number of each prediction's context."""
        if not events:
            return []
        found = self._requests.look_up(events)
        values = [None if event.prediction is msgspec.UNSET else event.prediction for event in events]
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
            places = self._take_new(table, found)
        again = {
            place
            for place in places
            if not self._take_one(
                KeptPrediction(
                    contexts[place], float(times[place]), values[place], events[place].score, events[place].probabilities
                ),
                found.keys[place],
                self._requests.entry(found, place),
                since,
            )
        }
        if again:
            self._counters["duplicate", PREDICTIONS] += len(again)
            events = [event for place, event in enumerate(events) if place not in again]
            contexts = [context for place, context in enumerate(contexts) if place not in again]
        return self._gathered.predicted(events, contexts)

    def _take_new(self, table: NDArray[np.void], found: RequestLookup) -> list[int]:
        """Join those predictions of a chunk (``table``) whose request is new or has only a label; returns the positions of the
        others."""
        requests, keys, raws = self._requests, found.keys, found.raws
        if not found.repeated and not any(raws):
            requests.store.put_many(dict(zip(keys, request_state.raws(OPEN, table), strict=True)))
            requests.pending += len(keys)
            return []
        new, early, others = found.by_form(EARLY)
        opened = request_state.raws(OPEN, table[new])
        requests.store.put_many({keys[place]: raw for place, raw in zip(new, opened, strict=True)})
        requests.pending += len(new)
        if early:
            labels = request_state.rows(EARLY, [raws[place] or b"" for place in early])
            joined = request_state.joined(table[early], labels)
            known = [keys[place] for place in early]
            requests.store.put_many(dict(zip(known, request_state.raws(JOINED, joined), strict=True)))
            requests.pending -= len(early)
            self._outcomes.first_known(joined, known)
        return others

    def _take_one(self, made: KeptPrediction, key: bytes, raw: bytes | None, since: bytes) -> bool:
        """Join one prediction; return False if it is a duplicate."""
        requests = self._requests
        if raw is None:
            requests.store.put(key, request_state.encode(since, RequestState([made])))
            requests.pending += 1
            return True
        entry = request_state.decode(raw)
        same = next((other for other in entry.predictions if self._same_version(made.context, other.context)), None)
        if same is not None:
            if abs(made.ts - same.ts) > SAME_REQUEST_SECONDS:
                self._counters["reused_id", self._outcomes.model(made)] += 1
            return False
        if entry.predictions:
            self._gathered.pairs.predicted(made, entry.predictions)
            since = raw[:4]
        entry.predictions.append(made)
        requests.store.put(key, request_state.encode(since, entry))
        if entry.statements:
            requests.pending -= len(entry.predictions) == 1
            known = self._outcomes.of(made, entry)
            if known is None:
                # The labels may be those of other models, or past the label horizon.
                applies = any(of.model in ("", self._outcomes.model(made)) for of in entry.statements)
                self._counters["expired", LABELS] += applies
                return True
            self._outcomes.change(made, None, known, key, known.known)
            for other in entry.predictions[:-1]:
                self._gathered.pairs.outcome_changed(
                    made, other, None, pair_label(known, self._outcomes.of(other, entry)), known.known
                )
        return True

    def _same_version(self, a: int, b: int) -> bool:
        if a == b:
            return True
        x, y = self._contexts[a], self._contexts[b]
        return x.version == y.version and x.model == y.model
