"""Trace contexts of predictions: the W3C ``traceparent`` header that a service sent, kept so that the examples of an alert link
to the service's own traces. Costs nothing if no record has one.

State, in the join's store and, for requests that are examples, in the monitor's store:
    t<request id>      a second (4 bytes, big-endian) that is not later than the request, and the header
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tidegauge.engine.events import Prediction
from tidegauge.engine.sortable_time import sortable_second
from tidegauge.engine.stage import InputRecord, Store

TRACE = b"t"
HEADER = "traceparent"
_FORM = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
"""Version, trace id, parent id and flags (W3C Trace Context, 2021)."""


def traceparent(headers: Iterable[tuple[str, bytes | None]]) -> str | None:
    """The trace context in a record's headers; None if there is none or if it does not have the standard's form.

    >>> traceparent([("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")])[3:9]
    '4bf92f'
    >>> traceparent([("traceparent", b"yes")])
    """
    value = next((value for name, value in headers if name == HEADER), None)
    return value[:55].decode() if value is not None and _FORM.fullmatch(value) else None


def trace_id(parent: str) -> str:
    """The trace id (32 hexadecimal digits) of a ``traceparent``."""
    return parent[3:35]


class Traces:
    """The trace contexts in one task's store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._any = next(iter(store.scan(TRACE)), None) is not None

    def note(self, events: Sequence[Prediction], records: Sequence[InputRecord]) -> None:
        """Keep the trace contexts of those predictions whose record has one."""
        if not any([record.headers for record in records]):
            return
        for event, record in zip(events, records, strict=True):
            if record.headers and (parent := traceparent(record.headers)) is not None:
                self.keep({event.request_id: parent}, float(event.ts))

    def keep(self, parents: Mapping[str, str], ts: float) -> None:
        """Keep trace contexts by request id, for requests that are not older than ``ts``."""
        self._any = self._any or bool(parents)
        for request_id, parent in parents.items():
            self._store.put(TRACE + request_id.encode(), sortable_second(ts) + parent.encode())

    def forget(self, request_ids: Iterable[str]) -> None:
        """Delete the trace contexts of these requests."""
        if self._any:
            for request_id in request_ids:
                self._store.delete(TRACE + request_id.encode())

    def of(self, request_ids: Iterable[str]) -> dict[str, str]:
        """The known trace contexts of these requests, by request id."""
        if not self._any:
            return {}
        ids = list(dict.fromkeys(request_ids))
        found = self._store.get_many([TRACE + request_id.encode() for request_id in ids])
        return {request_id: raw[4:].decode() for request_id, raw in zip(ids, found, strict=True) if raw is not None}


def old_traces(pairs: Mapping[bytes, bytes], oldest: bytes) -> list[bytes]:
    """The keys of those trace contexts among stored ``pairs`` that are older than the second ``oldest`` (4 bytes,
    big-endian)."""
    return [key for key, value in pairs.items() if key[:1] == TRACE and value[:4] < oldest]
