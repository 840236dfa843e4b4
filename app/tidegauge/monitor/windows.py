"""Tumbling windows of the monitor stage: which there are, and how each stands.

    h<model>\\0<version>\\0<window>\\0<start>            Header

Headers are all in memory (one a window, some 200 bytes and 100 a segment); of the profiles see ``monitor/window_profiles.py``.
What comes in row by row is counted into them when they are asked for (``monitor/window_rows.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec
import numpy as np

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import Store
from tidegauge.metrics.grading import Errors
from tidegauge.metrics.record import Window
from tidegauge.monitor.fresh_windows import Features, FreshWindows
from tidegauge.monitor.row_log import RowLog, Rows
from tidegauge.monitor.window_profiles import WindowProfiles
from tidegauge.monitor.window_rows import Side, WindowRows, data_profiles, outcome_profiles, places
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec, duration

MAX_ROWS_BYTES = 48 << 20
"""Rows kept in memory and in the store before they are counted."""
HEADER = b"h"
_encode = msgspec.msgpack.Encoder().encode


class RecordState(msgspec.Struct, array_like=True, gc=False):
    """How the record of one segment of a window stands: the ``predictions`` in it; ``published``, event time of its last
    revision; ``data`` and ``outcome``, whether predictions or outcomes have changed it since; ``data_rows`` and
    ``outcome_rows``, the number in the log of rows below which its profiles have taken theirs."""

    predictions: int = 0
    revision: int = 0
    published: float = 0.0
    data: bool = False
    outcome: bool = False
    data_rows: int = 0
    outcome_rows: int = 0


class Header(msgspec.Struct, array_like=True):
    """How one window stands. ``records``: the segments seen, in their order; ``stale``: the window before it has changed since
    the whole model's record was last published; ``pairs``: versions it shares requests with, of those sorting after it;
    ``graded``: how far the estimated performance of the whole model was off; ``latest``: the largest ``ts`` of its
    predictions; ``publications``: how often a record of it was published."""

    model: str
    version: str
    window: str
    start: float
    end: float
    closed: bool = False
    settled: bool = False
    records: dict[Segment, RecordState] = msgspec.field(default_factory=dict)
    stale: bool = False
    pairs: list[str] = msgspec.field(default_factory=list)
    graded: Errors = msgspec.field(default_factory=dict)
    latest: float = 0.0
    publications: int = 0

    @property
    def segments(self) -> list[Segment]:
        """Those seen, the whole model first."""
        return list(self.records)

    @property
    def key(self) -> bytes:
        return window_key(self.model, self.version, self.window, self.start)

    @property
    def span(self) -> Window:
        return Window(self.window, self.start, self.end)


@lru_cache(1 << 14)
def window_key(model: str, version: str, window: str, start: float) -> bytes:
    return b"\0".join((model.encode(), version.encode(), window.encode(), b"%020d" % round(start * 1000)))


class Lost(NamedTuple):
    """So many changes to windows, and so many predictions."""

    changes: int
    predictions: int


class FreshWindow(NamedTuple):
    """An open window with new predictions; ``sound`` as in ``Fresh``."""

    header: Header
    sound: Features | None


class Windows:
    """All windows of one monitor task. ``read_otherwise`` says whether the scores of a window are what its events say, or, as
    its whole model's predictions show, another reading of it."""

    def __init__(
        self, store: Store, read_otherwise: Callable[[Header, DataProfile], bool] = lambda header, data: False
    ) -> None:
        self._store, self._read_otherwise = store, read_otherwise
        decode = msgspec.msgpack.Decoder(Header).decode
        self.headers: dict[bytes, Header] = {}
        # What needs a look at a checkpoint, so that its cost does not grow with the windows kept: those open or changed
        # by model, of those changed which segments and the earliest time one of them was published, those closed but not
        # settled by version by their end, and all by model by the end of the one after.
        self._pending: dict[str, set[bytes]] = {}
        self._unpublished: dict[bytes, set[Segment]] = {}
        self._earliest: dict[bytes, float] = {}
        self._unsettled: dict[tuple[str, str], list[tuple[float, bytes]]] = {}
        self._by_end: dict[str, list[tuple[float, bytes]]] = {}
        for _, raw in store.scan(HEADER):
            self._admit(decode(raw))
        self.log = RowLog(store)
        self._rows = WindowRows(self.log)
        for rows in self.log.rows.values():
            self._await_rows(rows)
        self._changed: set[bytes] = set()
        self._fresh = FreshWindows()
        self._profiles = WindowProfiles(store)

    def _admit(self, header: Header) -> None:
        key = header.key
        self.headers[key] = header
        # Kept for as long as the window after it, which is judged together with it.
        heappush(self._by_end.setdefault(header.model, []), (2 * header.end - header.start, key))
        if not header.closed:
            self._pending.setdefault(header.model, set()).add(key)
        for segment, state in header.records.items():
            if state.data or state.outcome or (header.stale and not segment):
                self._await_publication(header, key, segment, state)
        if header.closed and not header.settled:
            heappush(self._unsettled.setdefault((header.model, header.version), []), (header.end, key))

    def _await_publication(self, header: Header, key: bytes, segment: Segment, state: RecordState) -> None:
        self._unpublished.setdefault(key, set()).add(segment)
        self._earliest[key] = min(self._earliest.get(key, math.inf), state.published)
        self._pending.setdefault(header.model, set()).add(key)

    def add(
        self, model: str, version: str, spec: ModelSpec, segment: Segment, pane: int, data: DataProfile | None,
        outcome: bytes | None, pairs: Mapping[str, PairProfile], latest: float, expired_before: float,
    ) -> int:  # fmt: skip
        """Merge a pane's profiles into every window it lies in (``outcome`` is packed); returns how many of them are gone for
        good."""
        moment = pane * spec.pane
        lost = 0
        for name in spec.windows:
            length = duration(name)
            # Panes divide windows, and both start at the epoch: the half pane keeps rounding away from the border.
            start = (moment + spec.pane / 2) // length * length
            if start + length <= expired_before:
                lost += 1
                continue
            header = self._header(model, version, name, start)
            key, state = header.key, self._state(header, segment)
            if data is not None:
                state.data = True
                state.predictions += data.predictions
                self._profiles.add_data(key, segment, data)
                header.latest = max(header.latest, latest)
                if not header.closed:
                    self._fresh.add(model, key, data.sound_features)
            if outcome is not None:
                self._profiles.add_packed_outcome(key, segment, outcome)
            for other, profile in pairs.items():
                if other not in header.pairs:
                    header.pairs.append(other)
                self._profiles.add_pairs(key, other, profile)
            if outcome is not None or pairs:
                state.outcome = True
            self._await_publication(header, key, segment, state)
            self._changed.add(key)
        return lost

    def take_rows(self, rows: Rows, expired_before: float) -> Lost:
        """Note what rows say of every window they lie in; what is lost, as its windows are gone for good."""
        lost, lost_rows = 0, np.zeros(len(rows.times), np.int64)
        for segment, name, start, numbers in places(rows):
            if start + duration(name) <= expired_before:
                lost += 1
                if not segment:
                    lost_rows[numbers] += 1
                continue
            header = self._header(rows.model, rows.version, name, start)
            key, state = header.key, self._state(header, segment)
            if rows.data is not None:
                state.data = True
                state.predictions += len(numbers)
                if not segment:
                    header.latest = max(header.latest, float(rows.times[numbers].max()))
                    if not header.closed:
                        self._fresh.add(rows.model, key, rows.data.sound_features)
            else:
                state.outcome = True
            self._rows.add(key, segment, rows, numbers)
            self._await_publication(header, key, segment, state)
            self._changed.add(key)
        return Lost(lost, int((lost_rows == len(rows.windows)).sum()) if rows.data is not None else 0)

    def _await_rows(self, rows: Rows) -> None:
        """After a restart: what has not been counted."""
        for segment, name, start, numbers in places(rows):
            key = window_key(rows.model, rows.version, name, start)
            state = self.headers[key].records.get(segment) if key in self.headers else None
            if state is not None and rows.number >= (state.outcome_rows if rows.data is None else state.data_rows):
                self._rows.add(key, segment, rows, numbers)

    def _header(self, model: str, version: str, window: str, start: float) -> Header:
        header = self.headers.get(window_key(model, version, window, start))
        if header is None:
            header = Header(model, version, window, start, start + duration(window))
            self._admit(header)
        return header

    def _state(self, header: Header, segment: Segment) -> RecordState:
        state = header.records.get(segment)
        if state is None:
            state = header.records[segment] = RecordState()
            header.records = dict(sorted(header.records.items()))
        return state

    def count(self, header: Header, side: Side, segments: Iterable[Segment] | None = None) -> None:
        """Count the rows that wait for these segments of a window, or for all: many at once at a fraction of what each by
        itself would take."""
        key = header.key
        found = self._rows.take(side, key, segments)
        if not found:
            return
        if side == "data":
            for segment, data in data_profiles(found):
                self._profiles.add_data(key, segment, data)
                header.records[segment].data_rows = self.log.next
        else:
            for segment, outcome in outcome_profiles(found):
                self._profiles.add_outcome(key, segment, outcome)
                header.records[segment].outcome_rows = self.log.next
        self._changed.add(key)

    def pending(self, model: str) -> list[Header]:
        """The model's windows that are open, or changed since they were published."""
        return [self.headers[key] for key in self._pending.get(model, ())]

    def fresh(self, model: str) -> list[FreshWindow]:
        """The model's open windows to which predictions were added since this was last asked, oldest first."""
        found = [FreshWindow(self.headers[of.key], of.sound) for of in self._fresh.take(model) if of.key in self.headers]
        open_ones = (of for of in found if not of.header.closed)
        return sorted(open_ones, key=lambda of: (of.header.end, of.header.window, of.header.version))

    def unpublished(self, header: Header, until: float = math.inf) -> list[Segment]:
        """The segments whose records have changed since they were published, at event time ``until`` or before."""
        key = header.key
        if self._earliest.get(key, math.inf) > until:
            return []
        return sorted(of for of in self._unpublished.get(key, ()) if header.records[of].published <= until)

    def published(self, header: Header, segments: Iterable[Segment], now: float) -> None:
        """Records of these segments were published at event time ``now``: look at them again only when there is cause."""
        key = header.key
        header.publications += 1
        waiting = self._unpublished.get(key, set())
        for segment in segments:
            state = header.records[segment]
            state.published, state.data, state.outcome = now, False, False
            waiting.discard(segment)
            if not segment:
                header.stale = False
        self._changed.add(key)
        if waiting:
            self._earliest[key] = min(header.records[of].published for of in waiting)
            return
        self._unpublished.pop(key, None)
        self._earliest.pop(key, None)
        if header.closed:
            self._pending.get(header.model, set()).discard(key)

    def outdate(self, header: Header) -> None:
        """The window before a closed one has changed: its record of the whole model is to be published anew."""
        header.stale = True
        self._changed.add(header.key)
        self._await_publication(header, header.key, (), header.records[()])

    def closed(self, header: Header) -> None:
        """The window has just been closed and awaits its labels."""
        heappush(self._unsettled.setdefault((header.model, header.version), []), (header.end, header.key))

    def unsettled(self, model: str, version: str, ended_by: float) -> Iterator[Header]:
        """Take out the closed windows that ended by then and have not settled."""
        heap = self._unsettled.get((model, version), [])
        while heap and heap[0][0] <= ended_by:
            header = self.headers.get(heappop(heap)[1])
            if header is not None and not header.settled:
                yield header

    def past(self, model: str, moment: float) -> Iterator[Header]:
        """Take out the model's windows whose successors ended before then, to be forgotten."""
        heap = self._by_end.get(model, [])
        while heap and heap[0][0] < moment:
            header = self.headers.get(heappop(heap)[1])
            if header is not None:
                yield header

    def newest_closed(self) -> list[Header]:
        """The newest closed window of each model, version and length."""
        newest: dict[tuple[str, str, str], Header] = {}
        for header in self.headers.values():
            name = (header.model, header.version, header.window)
            if header.closed and (name not in newest or newest[name].start < header.start):
                newest[name] = header
        return list(newest.values())

    def data(self, header: Header, segment: Segment) -> DataProfile:
        """The profile of a window's predictions, not to be merged into."""
        self.count(header, "data", (segment,))
        found = self._profiles.data(header.key, segment)
        return found.read_otherwise() if self._reread(header) else found

    def _reread(self, header: Header) -> bool:
        self.count(header, "data", ((),))
        return self._read_otherwise(header, self._profiles.data(header.key, ()))

    def outcome(self, header: Header, segment: Segment) -> OutcomeProfile:
        """The profile of a window's outcomes, not to be merged into."""
        self.count(header, "outcome", (segment,))
        found = self._profiles.outcome(header.key, segment)
        return found.derived(OutcomeProfile.read_otherwise) if len(found.other.keys) and self._reread(header) else found

    def pairs(self, header: Header, other: str) -> PairProfile:
        """As ``WindowProfiles.pairs``."""
        return self._profiles.pairs(header.key, other)

    def find(self, model: str, version: str, window: str, start: float) -> Header | None:
        return self.headers.get(window_key(model, version, window, start))

    def before(self, header: Header) -> Header | None:
        """The window of the header's version and length that ends where it begins."""
        return self.find(header.model, header.version, header.window, 2 * header.start - header.end)

    def within(self, header: Header, window: str) -> Iterator[Header]:
        """The windows of that length, of the header's model and version, that begin in it, oldest first."""
        length = duration(window)
        start = math.ceil(header.start / length) * length
        while start < header.end:
            found = self.find(header.model, header.version, window, start)
            if found is not None:
                yield found
            start += length

    def newest_settled(self, header: Header, reach: int = 60) -> Header | None:
        """The newest window of the header's version and length, it or one of ``reach`` before it, whose labels are in."""
        length = header.end - header.start
        for back in range(reach + 1):
            found = self.find(header.model, header.version, header.window, header.start - back * length)
            if found is not None and found.settled:
                return found
        return None

    def forget(self, header: Header) -> None:
        """Delete a window and all that is kept of it."""
        key = header.key
        self._rows.take("data", key)
        self._rows.take("outcome", key)
        self._profiles.forget(key, header.records, header.pairs)
        self._changed.discard(key)
        self._unpublished.pop(key, None)
        self._earliest.pop(key, None)
        self._pending.get(header.model, set()).discard(key)
        self._store.delete(HEADER + key)
        del self.headers[key]

    def flush(self) -> None:
        """Write what changed to the store."""
        if self.log.size > MAX_ROWS_BYTES:
            for side, key in self._rows.windows():
                self.count(self.headers[key], side)
        for key in self._changed:
            self._store.put(HEADER + key, _encode(self.headers[key]))
        self._changed.clear()
        self._profiles.flush()
