"""Forgets requests on demand: deletes everything that one join task keeps under their ids, and keeps nothing new.

State, in the join's store:
    f<digest>      the second (4 bytes, big-endian) of the demand; digest: of the request id (``engine/forgotten.py``)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from tidegauge.engine.events import Label, Prediction
from tidegauge.engine.forgotten import digest_of
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import Counters, InputRecord, Store
from tidegauge.engine.traces import Traces
from tidegauge.join.implied_labels import ImpliedLabels
from tidegauge.join.requests import Requests

FORGOTTEN = b"f"
Event = TypeVar("Event", Prediction, Label)


class KeptEvents(NamedTuple, Generic[Event]):
    """Events, and the input record of each."""

    events: list[Event]
    records: list[InputRecord]


class Forgetting:
    """The forgotten requests of one join task. Their digests expire like the entries of requests."""

    def __init__(self, store: Store, requests: Requests, traces: Traces, implied: ImpliedLabels, counters: Counters) -> None:
        self._store, self._requests, self._traces = store, requests, traces
        self._implied, self._counters = implied, counters
        self._digests = {key[1:] for key, _ in store.scan(FORGOTTEN)}
        self._new: list[str] = []

    def forget(self, asked: Sequence[Label]) -> None:
        """Delete what is kept of the requests of these events, which ask to forget them."""
        ids = list(dict.fromkeys(event.request_id for event in asked))
        for event in asked:
            self._store.put(FORGOTTEN + digest_of(event.request_id), sortable_second(float(event.ts)))
        self._digests.update(map(digest_of, ids))
        self._requests.forget(ids)
        self._traces.forget(ids)
        self._implied.forget(ids)
        self._new.extend(ids)
        self._counters["forgotten", "requests"] += len(ids)

    def not_forgotten(self, topic: str, events: list[Event], records: list[InputRecord]) -> KeptEvents[Event]:
        """The events of a chunk of the logical ``topic`` whose requests are not forgotten, and the record of each."""
        if not self._digests:
            return KeptEvents(events, records)
        kept = [place for place, event in enumerate(events) if digest_of(event.request_id) not in self._digests]
        self._counters["forgotten", topic] += len(events) - len(kept)
        return KeptEvents([events[place] for place in kept], [records[place] for place in kept])

    def take_new(self) -> tuple[str, ...]:
        """The request ids that were forgotten since the last call."""
        ids, self._new = tuple(self._new), []
        return ids

    def expired(self, pairs: Mapping[bytes, bytes], oldest: bytes) -> list[bytes]:
        """Keys of the digests among stored ``pairs`` that are older than a second (4 bytes, big endian)."""
        gone = [key for key, value in pairs.items() if key[:1] == FORGOTTEN and value < oldest]
        self._digests.difference_update(key[1:] for key in gone)
        return gone
