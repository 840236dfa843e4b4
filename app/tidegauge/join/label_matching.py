"""Joins labels with what is known of their request: its predictions, an earlier label that they repeat or correct, or nothing
yet.

The first labels of their requests are joined many at a time, in columns; all others one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.events import Label
from tidegauge.engine.stage import LABELS, Counters, InputRecord
from tidegauge.join import request_state
from tidegauge.join.outcomes import Outcomes
from tidegauge.join.pairing import Pairs, pair_label
from tidegauge.join.request_state import EARLY, JOINED, LAYOUTS, OPEN, UNDATED, RequestState
from tidegauge.join.requests import RequestLookup, Requests
from tidegauge.join.statements import Outcome, content, statements_of, still_needed


class LabelMatching:
    """Joins the labels of one join task."""

    def __init__(self, requests: Requests, outcomes: Outcomes, pairs: Pairs, counters: Counters) -> None:
        self._requests, self._outcomes, self._pairs, self._counters = requests, outcomes, pairs, counters

    def take(self, events: list[Label], records: list[InputRecord]) -> None:
        """Join labels. ``records``: the record of each label."""
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
            found.repeated.update(place for place, event in enumerate(events) if event.business or event.model)
            places = self._take_first(table, found)
        for place in places:
            self._take_one(events[place], records[place], found.keys[place], self._requests.entry(found, place))

    def _take_first(self, table: NDArray[np.void], found: RequestLookup) -> list[int]:
        """Join those labels of a chunk (``table``) that are the first of their request, whether its prediction is known or
        not; returns the positions of the others."""
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
        new = statements_of(event, record.offset)
        earlier, outcomes = entry.statements, self._outcomes
        deadlines = [outcomes.deadline(made) for made in entry.predictions]
        old = [outcomes.of(made, entry) for made in entry.predictions]
        entry.statements, entry.arrived = still_needed([*earlier, *new], deadlines), record.timestamp
        if entry.statements != earlier:
            self._requests.store.put(key, request_state.encode(raw[:4] if raw else UNDATED, entry))
        if not earlier:
            self._requests.pending += -1 if entry.predictions else 1
        if not any(new[0].model in ("", outcomes.model(made)) for made in entry.predictions):
            again = set(map(content, new)) <= set(map(content, earlier))
            self._counters["duplicate" if again else "waiting", LABELS] += 1
            return
        known = [outcomes.of(made, entry) for made in entry.predictions]
        moment = max(new[0].ts, *(of.known for of in old if of is not None), 0.0)
        for place, made in enumerate(entry.predictions):
            if old[place] != known[place]:
                outcomes.change(made, old[place], known[place], key, moment)
            for other in range(place):
                labels = pair_label(old[place], old[other]), pair_label(known[place], known[other])
                self._pairs.outcome_changed(made, entry.predictions[other], *labels, moment)
        if old == known and new[0].ts > max(deadlines) and not set(map(content, new)) <= set(map(content, earlier)):
            self._counters["expired", LABELS] += 1
        elif old == known or all(map(_same, old, known)):
            self._counters["duplicate", LABELS] += 1
        elif any(before is not None and not _same(before, after) for before, after in zip(old, known, strict=True)):
            self._counters["corrected", LABELS] += 1


def _same(old: Outcome | None, new: Outcome | None) -> bool:
    """Whether two outcomes differ at most in their times."""
    return (old is None) == (new is None) and (
        old is None or new is None or (old.label, old.truth, old.business) == (new.label, new.truth, new.business)
    )
