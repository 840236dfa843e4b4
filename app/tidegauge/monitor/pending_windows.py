"""Keeps track of the windows of a monitor task that a checkpoint must check, so that its cost does not grow with the number of
windows that are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from tidegauge.engine.delta import Segment
from tidegauge.monitor.window_headers import Header
from tidegauge.spec import ModelVersion


class PendingCheck(NamedTuple):
    """A window, by its key, that must be checked from event time ``at`` on."""

    at: float
    key: bytes


class PendingWindows:
    """The windows among ``headers`` (by key) that are open, have changed since they were published, have not settled, or are to
    be forgotten some day."""

    def __init__(self, headers: Mapping[bytes, Header]) -> None:
        self._headers = headers
        # Open or changed windows by model; for changed ones their changed segments, and when the first of these was published.
        self._pending: dict[str, set[bytes]] = {}
        self._unpublished: dict[bytes, set[Segment]] = {}
        self._earliest: dict[bytes, float] = {}
        # Heaps: closed but not settled windows by their end, for each version; all windows by the end of the next, for each
        # model.
        self._unsettled: dict[ModelVersion, list[PendingCheck]] = {}
        self._by_end: dict[str, list[PendingCheck]] = {}

    def admit(self, header: Header) -> None:
        """Take in a window, new or as it was stored."""
        # A window is kept as long as the next one, which is judged together with it.
        heappush(self._by_end.setdefault(header.model, []), PendingCheck(2 * header.end - header.start, header.key))
        if not header.closed:
            self._pending.setdefault(header.model, set()).add(header.key)
        elif not header.settled:
            self.closed(header)
        for segment, state in header.records.items():
            if state.data or state.outcome or (header.stale and not segment):
                self.changed(header, segment)

    def changed(self, header: Header, segment: Segment) -> None:
        """Note that the record of a segment is to be published again."""
        key = header.key
        self._unpublished.setdefault(key, set()).add(segment)
        self._earliest[key] = min(self._earliest.get(key, math.inf), header.records[segment].published)
        self._pending.setdefault(header.model, set()).add(key)

    def of_model(self, model: str) -> list[Header]:
        """The model's windows that are open, or have changed since they were published."""
        return [self._headers[key] for key in self._pending.get(model, ())]

    def unpublished(self, header: Header, until: float = math.inf) -> list[Segment]:
        """The segments whose records have changed since they were published, at event time ``until`` or before."""
        key = header.key
        if self._earliest.get(key, math.inf) > until:
            return []
        return sorted(of for of in self._unpublished.get(key, ()) if header.records[of].published <= until)

    def published(self, header: Header, segments: Iterable[Segment]) -> None:
        """Note that records of these segments were published: look at them again only when they change."""
        key = header.key
        waiting = self._unpublished.get(key, set())
        waiting.difference_update(segments)
        if waiting:
            self._earliest[key] = min(header.records[of].published for of in waiting)
            return
        self._unpublished.pop(key, None)
        self._earliest.pop(key, None)
        if header.closed:
            self._pending.get(header.model, set()).discard(key)

    def closed(self, header: Header) -> None:
        """Note that a closed window waits for its labels."""
        heappush(
            self._unsettled.setdefault(ModelVersion(header.model, header.version), []), PendingCheck(header.end, header.key)
        )

    def unsettled(self, model: str, version: str, ended_by: float) -> Iterator[Header]:
        """Take out the closed windows that ended by then and have not settled."""
        heap = self._unsettled.get(ModelVersion(model, version), [])
        while heap and heap[0].at <= ended_by:
            header = self._headers.get(heappop(heap).key)
            if header is not None and not header.settled:
                yield header

    def past(self, model: str, moment: float) -> Iterator[Header]:
        """Take out the model's windows that are to be forgotten, since the windows after them ended before ``moment``."""
        heap = self._by_end.get(model, [])
        while heap and heap[0].at < moment:
            header = self._headers.get(heappop(heap).key)
            if header is not None:
                yield header

    def forget(self, header: Header) -> None:
        """Drop what is noted of a window."""
        key = header.key
        self._unpublished.pop(key, None)
        self._earliest.pop(key, None)
        self._pending.get(header.model, set()).discard(key)
