"""Implied labels: if only one of two outcomes causes an event, a prediction without a label after ``missing_after`` seconds had
the other outcome. This outcome is then counted and marked as implied. If a label comes later, it is taken back like any
corrected outcome.

State, in the join's store, one key for each prediction that still waits:
    i<second><context><request id>      second (4 bytes, big-endian): when its time is over; context: its number (4 bytes)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from tidegauge.engine.events import Prediction
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import LABELS, Counters
from tidegauge.join import request_state
from tidegauge.join.outcomes import Outcomes
from tidegauge.join.pairing import Pairs, pair_label
from tidegauge.join.requests import REQUEST, Requests
from tidegauge.spec import ModelSpec

DUE = b"i"
_HEAD = 1 + 4 + 4
AT_ONCE = 10_000


class ImpliedLabels:
    """The predictions of one join task that wait for a label."""

    def __init__(self, requests: Requests, outcomes: Outcomes, pairs: Pairs, counters: Counters) -> None:
        self._requests, self._outcomes, self._pairs, self._counters = requests, outcomes, pairs, counters
        self._earliest = next((key[1:5] for key, _ in requests.store.scan(DUE)), None)

    def expect(self, events: Sequence[Prediction], contexts: Sequence[int], specs: Sequence[ModelSpec]) -> None:
        """Note until when labels of these predictions may come. ``contexts``, ``specs``: the number of the context, and the
        spec of the model, of each prediction."""
        for event, context, spec in zip(events, contexts, specs, strict=True):
            if spec.labels is not None:
                self._expect(float(event.ts) + spec.labels.missing_after, context, event.request_id.encode())

    def _expect(self, moment: float, context: int, request_id: bytes) -> None:
        second = sortable_second(moment)
        self._requests.store.put(DUE + second + context.to_bytes(4, "big") + request_id, b"1")
        self._earliest = second if self._earliest is None else min(self._earliest, second)

    def forget(self, request_ids: Sequence[str]) -> None:
        """Stop waiting for labels of these requests."""
        if self._earliest is not None:
            ids = {request_id.encode() for request_id in request_ids}
            for key in [key for key, _ in self._requests.store.scan(DUE) if key[_HEAD:] in ids]:
                self._requests.store.delete(key)

    def due(self, now: float) -> Iterator[list[bytes]]:
        """Take out the keys of those whose time is over at event time ``now``, at most AT_ONCE at a time."""
        while self._earliest is not None and self._earliest <= sortable_second(now):
            due = [key for key, _ in islice(self._requests.store.scan(DUE), AT_ONCE + 1)]
            self._earliest = due[AT_ONCE][1:5] if len(due) > AT_ONCE else None
            taken: list[bytes] = []
            for key in due[:AT_ONCE]:
                if key[1:5] > sortable_second(now):
                    self._earliest = key[1:5] if self._earliest is None else min(self._earliest, key[1:5])
                    break
                self._requests.store.delete(key)
                taken.append(key)
            if taken:
                yield taken

    def count(self, keys: Iterable[bytes]) -> None:
        """Count the outcomes of those that were due."""
        for key in keys:
            self._imply(key[1:5], int.from_bytes(key[5:_HEAD], "big"), key[_HEAD:])

    def _imply(self, second: bytes, context: int, request_id: bytes) -> None:
        key = REQUEST + request_id
        raw = self._requests.store.get(key)
        if raw is None:
            return
        entry, outcomes = request_state.decode(raw), self._outcomes
        made = next((made for made in entry.predictions if made.context == context), None)
        meaning = None if made is None else outcomes.spec(made).labels
        if made is None or meaning is None or made.implied is not None:
            return
        moment = made.ts + meaning.missing_after
        if sortable_second(moment) > second:
            # The spec now allows more time for labels, or a repeated prediction has an earlier ts.
            self._expect(moment, context, request_id)
            return
        old, others = outcomes.of(made, entry), [other for other in entry.predictions if other is not made]
        if old is not None and old.label is not None:
            return
        made.implied = request_state.ImpliedLabel(meaning.means, moment)
        self._requests.store.put(key, request_state.encode(raw[:4], entry))
        new = outcomes.of(made, entry)
        outcomes.change(made, old, new, key, moment)
        for other in others:
            known = outcomes.of(other, entry)
            self._pairs.outcome_changed(made, other, pair_label(old, known), pair_label(new, known), moment)
        self._counters["implied", LABELS] += 1
