"""The tumbling windows of a monitor task: deltas are merged into them, and their profiles are read from them.

    h<model>\\0<version>\\0<window>\\0<start>            Header

All headers are in memory (one for each window, about 200 bytes and 100 for each segment). Profiles are loaded when they are
needed (``monitor/window_profiles.py``). Rows are counted when a profile that they belong to is asked for
(``monitor/window_rows.py``). ``pending`` knows which windows a checkpoint must check (``monitor/pending_windows.py``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import Store
from tidegauge.monitor.fresh_windows import Features, FreshWindows
from tidegauge.monitor.pending_windows import PendingWindows
from tidegauge.monitor.row_log import RowLog, Rows
from tidegauge.monitor.window_headers import Header, RecordState, window_key
from tidegauge.monitor.window_profiles import WindowProfiles
from tidegauge.monitor.window_rows import RowShare, Side, WindowRows, count_outcomes, data_profiles, window_shares
from tidegauge.profile.data import DataProfile
from tidegauge.profile.numeric import LEARNING_K
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec, duration

MAX_ROWS_BYTES = 32 << 20
"""The most bytes of rows that are kept, in memory and in the store, before the oldest are counted unasked."""
COUNTED_UNASKED, MOST_EVENTS = 8, 400
"""The part of the waiting work that a checkpoint counts unasked, so that it does not write the profiles of all windows at
once; and the most predictions of a profile that count as work, since beyond these it grows no further."""
COUNTED_BYTES, MOST_VALUES = 8 << 20, 2 * LEARNING_K
"""About how many bytes of profiles of predictions are counted and written at once for the records of one window; and the most
predictions by which a profile's size is judged, since no sketch grows beyond these."""
KEPT_BEYOND_RETENTION = 86400.0
"""Seconds that a window is kept beyond retention and label horizon, as long as the join keeps its requests."""
HEADER = b"h"
_encode = msgspec.msgpack.Encoder().encode


def oldest_kept(spec: ModelSpec, now: float) -> float:
    """The event time before which windows that have ended are no longer kept at event time ``now``."""
    return now - max(spec.retention, spec.label_horizon) - KEPT_BEYOND_RETENTION


class LateChanges(NamedTuple):
    """What came too late: the number of changes to windows that are no longer kept, and of predictions without any kept
    window."""

    changes: int
    predictions: int


class FreshWindow(NamedTuple):
    """An open window with new predictions; ``sound`` as in ``Fresh``."""

    header: Header
    sound: Features | None


class UncountedRows(NamedTuple):
    """The rows of one side of some segments of a window that have not been counted yet."""

    side: Side
    header: Header
    segments: list[Segment]


class CountedSegment(NamedTuple):
    """A segment, and about how many ``bytes`` its profile of predictions takes once the rows that wait for it are counted; 0 if
    none wait."""

    segment: Segment
    bytes: int


class _Series(NamedTuple):
    """The windows of one model version and one length, by the name of that length."""

    model: str
    version: str
    window: str


class Windows:
    """All windows of one monitor task. ``read_otherwise``: decides from the whole model's predictions in a window whether its
    scores must be read the other way (``monitor/confidence_readings.py``)."""

    def __init__(
        self, store: Store, read_otherwise: Callable[[Header, DataProfile], bool] = lambda header, data: False
    ) -> None:
        self._store, self._read_otherwise = store, read_otherwise
        decode = msgspec.msgpack.Decoder(Header).decode
        self.headers: dict[bytes, Header] = {}
        self.pending = PendingWindows(self.headers)
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
        self.headers[header.key] = header
        self.pending.admit(header)

    def add(
        self, model: str, version: str, spec: ModelSpec, segment: Segment, pane: int, data: DataProfile | None,
        outcome: bytes | None, pairs: Mapping[str, PairProfile], latest: float, expired_before: float,
    ) -> int:  # fmt: skip
        """Merge a pane's profiles into every window that it lies in; return how many of these are no longer kept. ``outcome``:
        a packed OutcomeProfile; ``latest``: the largest ``ts`` of the predictions; ``expired_before``: windows that ended
        before this event time are no longer kept."""
        moment = pane * spec.pane
        lost = 0
        for name in spec.windows:
            length = duration(name)
            # Panes divide windows. The middle of the pane is used, so that rounding cannot put it into the previous window.
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
            self.pending.changed(header, segment)
            self._changed.add(key)
        return lost

    def take_rows(self, rows: Rows, expired_before: float) -> LateChanges:
        """Note the rows in every window that they lie in; they are counted when the window is asked for. ``expired_before``: as
        in ``add``."""
        lost, lost_rows = 0, np.zeros(len(rows.times), np.int64)
        for name, start, numbers in window_shares(rows):
            touched = rows.segments[:, numbers]
            if start + duration(name) <= expired_before:
                lost += len(np.unique(touched[touched >= 0]))
                lost_rows[numbers] += 1
                continue
            header = self._header(rows.model, rows.version, name, start)
            if rows.data is None:
                self._wait(header, RowShare(rows, numbers), set(touched.ravel().tolist()) - {-1})
            else:
                counts = Counter(touched.ravel().tolist())
                del counts[-1]
                self._wait(header, RowShare(rows, numbers), counts)
                for of, count in counts.items():
                    header.records[rows.names[of]].predictions += count
                header.latest = max(header.latest, float(rows.times[numbers].max()))
                if not header.closed:
                    self._fresh.add(rows.model, header.key, rows.data.sound_features)
                self._changed.add(header.key)
        return LateChanges(lost, int((lost_rows == len(rows.windows)).sum()) if rows.data is not None else 0)

    def _wait(self, header: Header, share: RowShare, segments: Iterable[int]) -> None:
        """Let rows wait for these segments of a window, and note that their records have changed."""
        names, data = share.rows.names, share.rows.data is not None
        new = [names[of] for of in self._rows.add(header.key, share, segments)]
        if any(of not in header.records for of in new):
            header.records = dict(sorted({**{of: RecordState() for of in new}, **header.records}.items()))
        # Of the others this is noted already: they are not published before they have counted the rows that wait for them.
        for segment in new:
            state = header.records[segment]
            if data:
                state.data = True
            else:
                state.outcome = True
            self.pending.changed(header, segment)
        if new:
            self._changed.add(header.key)

    def _await_rows(self, rows: Rows) -> None:
        """Let rows wait for the segments that have not counted them, after a restart."""
        for name, start, numbers in window_shares(rows):
            header = self.find(rows.model, rows.version, name, start)
            if header is None:
                continue
            waiting = [
                of for of in np.unique(rows.segments[:, numbers]).tolist()
                if of >= 0 and (state := header.records.get(rows.names[of])) is not None
                and rows.number >= (state.outcome_rows if rows.data is None else state.data_rows)
            ]  # fmt: skip
            if waiting:
                self._rows.add(header.key, RowShare(rows, numbers), waiting)

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
        """Count the rows that wait for these segments of a window, or for all of its segments. Counting them together is much
        faster than one by one."""
        key = header.key
        found = self._rows.take(side, key, segments)
        if not found.shares:
            return
        if side == "data":
            for of in data_profiles(found):
                self._profiles.add_data(key, of.segment, of.profile)
                header.records[of.segment].data_rows = self.log.next
        else:
            count_outcomes(found, partial(self._profiles.outcome_to_change, key))
            for number in found.since:
                header.records[found.shares[0].rows.names[number]].outcome_rows = self.log.next
        self._changed.add(key)

    def in_pieces(self, header: Header, segments: Iterable[Segment]) -> Iterator[list[CountedSegment]]:
        """These segments of a window in pieces of about COUNTED_BYTES, at least one segment, whose rows with predictions are to
        be counted together."""
        growth = self._rows.growth(header.key)
        piece: list[CountedSegment] = []
        size = 0
        for segment in segments:
            values = min(header.records[segment].predictions, MOST_VALUES) if segment in growth.segments else 0
            grown = values * growth.row_bytes
            if piece and size + grown > COUNTED_BYTES:
                yield piece
                piece, size = [], 0
            piece.append(CountedSegment(segment, grown))
            size += grown
        if piece:
            yield piece

    def fresh(self, model: str) -> list[FreshWindow]:
        """Take out the model's open windows with new predictions, the oldest first."""
        found = [FreshWindow(self.headers[of.key], of.sound) for of in self._fresh.take(model) if of.key in self.headers]
        open_ones = (of for of in found if not of.header.closed)
        return sorted(open_ones, key=lambda of: (of.header.end, of.header.window, of.header.version))

    def published(self, header: Header, segments: Iterable[Segment], now: float) -> None:
        """Note that records of these segments were published at event time ``now``."""
        segments = list(segments)
        header.publications += 1
        for segment in segments:
            state = header.records[segment]
            state.published, state.data, state.outcome = now, False, False
            if not segment:
                header.stale = False
        self.pending.published(header, segments)
        self._changed.add(header.key)

    def give_up(self, header: Header, now: float) -> None:
        """Drop what waits for a window whose publishing is set aside."""
        header.closed = header.settled = True
        self._rows.take("data", header.key)
        self._rows.take("outcome", header.key)
        self.published(header, header.segments, now)

    def outdate(self, header: Header) -> None:
        """Note that the window before this closed one has changed, so its record of the whole model must be published again."""
        header.stale = True
        self._changed.add(header.key)
        self.pending.changed(header, ())

    def newest_closed(self) -> list[Header]:
        """The newest closed window of each model, version and length."""
        newest: dict[_Series, Header] = {}
        for header in self.headers.values():
            name = _Series(header.model, header.version, header.window)
            if header.closed and (name not in newest or newest[name].start < header.start):
                newest[name] = header
        return list(newest.values())

    def data(self, header: Header, segment: Segment) -> DataProfile:
        """The profile of a window's predictions. Nothing may be merged into it."""
        self.count(header, "data", (segment,))
        found = self._profiles.data(header.key, segment)
        return found.read_otherwise() if self._reread(header) else found

    def _reread(self, header: Header) -> bool:
        self.count(header, "data", ((),))
        return self._read_otherwise(header, self._profiles.data(header.key, ()))

    def outcome(self, header: Header, segment: Segment) -> OutcomeProfile:
        """The profile of a window's outcomes. Nothing may be merged into it."""
        self.count(header, "outcome", (segment,))
        found = self._profiles.outcome(header.key, segment)
        return found.derived(OutcomeProfile.read_otherwise) if len(found.other.keys) and self._reread(header) else found

    def pairs(self, header: Header, other: str) -> PairProfile:
        """Like ``WindowProfiles.pairs``, but without anything based on scores if those of either version are read the other
        way."""
        found, beside = self._profiles.pairs(header.key, other), self.find(header.model, other, header.window, header.start)
        reread = self._reread(header) or (beside is not None and self._reread(beside))
        return found.without_scores() if reread else found

    def find(self, model: str, version: str, window: str, start: float) -> Header | None:
        return self.headers.get(window_key(model, version, window, start))

    def before(self, header: Header) -> Header | None:
        """The window of the same version and length that ends where this one begins."""
        return self.find(header.model, header.version, header.window, 2 * header.start - header.end)

    def within(self, header: Header, window: str) -> Iterator[Header]:
        """The windows of the same version and of the length ``window`` that begin in this one, the oldest first."""
        length = duration(window)
        start = math.ceil(header.start / length) * length
        while start < header.end:
            found = self.find(header.model, header.version, window, start)
            if found is not None:
                yield found
            start += length

    def newest_settled(self, header: Header, reach: int = 60) -> Header | None:
        """The newest settled window of the same version and length: this one, or one of the ``reach`` windows before it."""
        length = header.end - header.start
        for back in range(reach + 1):
            found = self.find(header.model, header.version, header.window, header.start - back * length)
            if found is not None and found.settled:
                return found
        return None

    def told(self, header: Header, segments: Iterable[Segment], now: float) -> None:
        """Note that how these segments of an open window stand was published at event time ``now``."""
        for segment in segments:
            header.records[segment].published = now
        self._changed.add(header.key)

    def forget(self, header: Header) -> None:
        """Delete a window with everything that is kept of it."""
        key = header.key
        self._rows.take("data", key)
        self._rows.take("outcome", key)
        self._profiles.forget(key, header.records, header.pairs)
        self._changed.discard(key)
        self.pending.forget(header)
        self._store.delete(HEADER + key)
        del self.headers[key]

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from profiles and rows. Call it after both were flushed."""
        self._profiles.forget_requests(request_ids)
        self.log.forget_requests(request_ids)

    def rows_to_count(self) -> list[UncountedRows]:
        """The rows to be counted now although nobody has asked for their windows, because rows take too much memory: a part of
        them, the oldest first."""
        if self.log.size <= MAX_ROWS_BYTES:
            return []
        places = sorted(self._rows.places(), key=lambda of: of.since)
        work = [1 + min(self.headers[of.window].records[of.segment].predictions, MOST_EVENTS) for of in places]
        left = sum(work) // COUNTED_UNASKED
        found: dict[tuple[Side, bytes], list[Segment]] = {}
        for place, events in zip(places, work, strict=True):
            found.setdefault((place.side, place.window), []).append(place.segment)
            left -= events
            if left <= 0:
                break
        return [UncountedRows(side, self.headers[window], segments) for (side, window), segments in found.items()]

    def flush(self) -> None:
        """Write what changed to the store."""
        for key in self._changed:
            self._store.put(HEADER + key, _encode(self.headers[key]))
        self._changed.clear()
        self._profiles.flush()
