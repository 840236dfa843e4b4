"""Labels meet what is known of their request: predictions, an earlier label that they repeat or correct, or nothing yet.

As with predictions, what is met for the first time is joined column by column, everything else one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.events import Label
from tidegauge.engine.stage import LABELS, InputRecord
from tidegauge.join import request_state
from tidegauge.join.outcomes import Outcomes
from tidegauge.join.pairing import Pairs
from tidegauge.join.request_state import EARLY, JOINED, LAYOUTS, OPEN, UNDATED, RequestState
from tidegauge.join.requests import LookUp, Requests


class LabelMatching:
    """Of one join task."""

    def __init__(self, requests: Requests, outcomes: Outcomes, pairs: Pairs, counters: Counter[tuple[str, str]]) -> None:
        self._requests, self._outcomes, self._pairs, self._counters = requests, outcomes, pairs, counters

    def take(self, events: list[Label], records: list[InputRecord]) -> None:
        """Take labels and the record each one came in."""
        if not events:
            return
        found = self._requests.look_up(events)
        packed = request_state.pack_values([event.label for event in events])
        places: Sequence[int] = range(len(events))
        if packed is not None:
            table = np.empty(len(events), LAYOUTS[EARLY])
            table["second"], table["form"] = 0, EARLY
            table["label_kind"], table["label"] = packed
            table["label_ts"] = [event.ts for event in events]
            table["offset"] = [record.offset for record in records]
            table["arrived"] = [record.timestamp for record in records]
            found.repeated.update(place for place, event in enumerate(events) if event.business)
            places = self._take_first(table, found)
        for place in places:
            self._take_one(events[place], records[place], found.keys[place], self._requests.entry(found, place))

    def _take_first(self, table: NDArray[np.void], found: LookUp) -> list[int]:
        """Take the labels that are the first of their request, known or not; the places of the others."""
        requests, keys, raws = self._requests, found.keys, found.raws
        new, opened, others = found.by_form(OPEN)
        early = request_state.raws(EARLY, table[new])
        requests.store.put_many({keys[place]: raw for place, raw in zip(new, early, strict=True)})
        requests.pending += len(new)
        if new:
            self._counters["waiting", LABELS] += len(new)
        if opened:
            predicted = request_state.rows(OPEN, [raws[place] or b"" for place in opened])
            joined = request_state.joined(predicted, table[opened])
            known = [keys[place] for place in opened]
            requests.store.put_many(dict(zip(known, request_state.raws(JOINED, joined), strict=True)))
            requests.pending -= len(opened)
            self._outcomes.first_known(joined, known)
        return others

    def _take_one(self, event: Label, record: InputRecord, key: bytes, raw: bytes | None) -> None:
        entry = RequestState([]) if raw is None else request_state.decode(raw)
        old = entry.known
        new = request_state.updated(old, event, record)
        if new is None:
            self._counters["duplicate", LABELS] += 1
            return
        entry.known = new
        self._requests.store.put(key, request_state.encode(raw[:4] if raw else UNDATED, entry))
        if old is None:
            self._requests.pending += -1 if entry.predictions else 1
        if not entry.predictions:
            self._counters["waiting", LABELS] += old is None
            return
        if old is not None:
            same = old.label == new.label and old.business == new.business
            self._counters["duplicate" if same else "corrected", LABELS] += 1
        if len(entry.predictions) > 1:
            self._pairs.labelled(entry.predictions, old, new)
        for made in entry.predictions:
            if old is not None:
                self._outcomes.count(made, old, -1, False, key, max(new.ts, new.business_ts))
            self._outcomes.count(made, new, 1, old is None or (old.label is None and new.label is not None), key)
