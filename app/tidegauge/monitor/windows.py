"""Tumbling windows of the monitor stage: which there are, how each stands, and their profiles, kept in the task's store.

    h<model>\\0<version>\\0<window>\\0<start>            Header
    d<the same>\\0<segment>                             packed DataProfile
    o<the same>\\0<segment>                             packed OutcomeProfile
    p<the same>\\0<version>                             packed PairProfile, with a version whose name sorts after

Headers are all in memory (one a window, about 200 bytes); profiles are loaded when touched and evicted least recently
used. Data and outcomes are stored apart, since late labels touch only the small outcome side of old windows.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from heapq import heappop, heappush

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import Store
from tidegauge.metrics.grading import Errors
from tidegauge.metrics.record import Window
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import PairProfile
from tidegauge.spec import ModelSpec, duration

MAX_CACHED = 4000
HEADER, DATA, OUTCOME, PAIRS = b"h", b"d", b"o", b"p"
Profile = DataProfile | OutcomeProfile | PairProfile
_encode = msgspec.msgpack.Encoder().encode


class Header(msgspec.Struct, array_like=True):
    """How one window stands. ``published``: event time of its last revision; ``dirty``: changed since,
    ``data_dirty``: by predictions too;
    ``segments``: those seen, the whole model first; ``pairs``: versions it shares requests with, of those sorting after it;
    ``graded``: how far the estimated performance of the whole model was off; ``latest``: the largest ``ts`` of its
    predictions; ``stale``: the window before it has changed since it was last published."""

    model: str
    version: str
    window: str
    start: float
    end: float
    revision: int = 0
    published: float = 0.0
    closed: bool = False
    settled: bool = False
    dirty: bool = False
    data_dirty: bool = False
    segments: list[Segment] = msgspec.field(default_factory=list)
    pairs: list[str] = msgspec.field(default_factory=list)
    graded: Errors = msgspec.field(default_factory=dict)
    latest: float = 0.0
    stale: bool = False

    @property
    def key(self) -> bytes:
        return window_key(self.model, self.version, self.window, self.start)

    @property
    def span(self) -> Window:
        return Window(self.window, self.start, self.end)


def window_key(model: str, version: str, window: str, start: float) -> bytes:
    return b"\0".join((model.encode(), version.encode(), window.encode(), b"%020d" % round(start * 1000)))


class Windows:
    """All windows of one monitor task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        decode = msgspec.msgpack.Decoder(Header).decode
        self.headers: dict[bytes, Header] = {}
        # What needs a look at a checkpoint, so that its cost does not grow with the windows kept: those open or changed
        # by model, those closed but not settled by version by their end, and all by model by the end of the one after.
        self._pending: dict[str, set[bytes]] = {}
        self._unsettled: dict[tuple[str, str], list[tuple[float, bytes]]] = {}
        self._by_end: dict[str, list[tuple[float, bytes]]] = {}
        for _, raw in store.scan(HEADER):
            self._admit(decode(raw))
        self._changed: set[bytes] = set()
        # Open windows with data that no early verdict has seen.
        self._fresh: dict[str, set[bytes]] = {}
        self._profiles: OrderedDict[bytes, Profile] = OrderedDict()
        self._dirty: set[bytes] = set()

    def _admit(self, header: Header) -> None:
        key = header.key
        self.headers[key] = header
        # Kept for as long as the window after it, which is judged together with it.
        heappush(self._by_end.setdefault(header.model, []), (2 * header.end - header.start, key))
        if header.dirty or header.stale or not header.closed:
            self._pending.setdefault(header.model, set()).add(key)
        if header.closed and not header.settled:
            heappush(self._unsettled.setdefault((header.model, header.version), []), (header.end, key))

    def add(
        self, model: str, version: str, spec: ModelSpec, segment: Segment, pane: int, data: DataProfile | None,
        outcome: OutcomeProfile | None, pairs: Mapping[str, PairProfile], latest: float, expired_before: float,
    ) -> int:  # fmt: skip
        """Merge a pane's profiles into every window it lies in; returns how many of them are gone for good."""
        moment = pane * spec.pane
        lost = 0
        for name in spec.windows:
            length = duration(name)
            # Panes divide windows, and both start at the epoch: the half pane keeps rounding away from the border.
            start = (moment + spec.pane / 2) // length * length
            if start + length <= expired_before:
                lost += 1
                continue
            key = window_key(model, version, name, start)
            header = self.headers.get(key)
            if header is None:
                header = Header(model, version, name, start, start + length)
                self._admit(header)
            if segment not in header.segments:
                header.segments.append(segment)
                header.segments.sort()
            if data is not None:
                self.data(header, segment).merge(data)
                self._dirty.add(_profile_key(DATA, key, segment))
                header.data_dirty = True
                header.latest = max(header.latest, latest)
                if not header.closed:
                    self._fresh.setdefault(model, set()).add(key)
            if outcome is not None:
                self.outcome(header, segment).merge(outcome)
                self._dirty.add(_profile_key(OUTCOME, key, segment))
            for other, profile in pairs.items():
                if other not in header.pairs:
                    header.pairs.append(other)
                self.pairs(header, other).merge(profile)
                self._dirty.add(_profile_key(PAIRS, key, other))
            header.dirty = True
            self._pending.setdefault(model, set()).add(key)
            self._changed.add(key)
        return lost

    def pending(self, model: str) -> list[Header]:
        """The model's windows that are open, or changed since they were published."""
        return [self.headers[key] for key in self._pending.get(model, ())]

    def fresh(self, model: str) -> list[Header]:
        """The model's open windows to which predictions were added since this was last asked, oldest first."""
        found = [self.headers[key] for key in self._fresh.pop(model, ()) if key in self.headers]
        return sorted((h for h in found if not h.closed), key=lambda h: (h.end, h.window, h.version))

    def published(self, header: Header) -> None:
        """The header was changed by its publication: store it, and look at it again only when there is cause."""
        key = header.key
        self._changed.add(key)
        if header.closed and not (header.dirty or header.stale):
            self._pending.get(header.model, set()).discard(key)

    def outdate(self, header: Header) -> None:
        """The window before a closed one has changed: it is to be published anew."""
        header.stale = True
        self._changed.add(header.key)
        self._pending.setdefault(header.model, set()).add(header.key)

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

    def forget_before(self, model: str, moment: float) -> None:
        """Delete the model's windows whose successors ended before then."""
        heap = self._by_end.get(model, [])
        while heap and heap[0][0] < moment:
            header = self.headers.get(heappop(heap)[1])
            if header is not None:
                self._forget(header)

    def newest_closed(self) -> list[Header]:
        """The newest closed window of each model, version and length."""
        newest: dict[tuple[str, str, str], Header] = {}
        for header in self.headers.values():
            name = (header.model, header.version, header.window)
            if header.closed and (name not in newest or newest[name].start < header.start):
                newest[name] = header
        return list(newest.values())

    def data(self, header: Header, segment: Segment) -> DataProfile:
        found = self._load(_profile_key(DATA, header.key, segment), DataProfile)
        assert isinstance(found, DataProfile)
        return found

    def outcome(self, header: Header, segment: Segment) -> OutcomeProfile:
        found = self._load(_profile_key(OUTCOME, header.key, segment), OutcomeProfile)
        assert isinstance(found, OutcomeProfile)
        return found

    def pairs(self, header: Header, other: str) -> PairProfile:
        """The requests that the header's version and one whose name sorts after it have both answered."""
        found = self._load(_profile_key(PAIRS, header.key, other), PairProfile)
        assert isinstance(found, PairProfile)
        return found

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

    def _forget(self, header: Header) -> None:
        key = header.key
        places = [_profile_key(kind, key, segment) for segment in header.segments for kind in (DATA, OUTCOME)]
        for place in (*places, *(_profile_key(PAIRS, key, other) for other in header.pairs)):
            self._profiles.pop(place, None)
            self._dirty.discard(place)
            self._store.delete(place)
        self._changed.discard(key)
        self._pending.get(header.model, set()).discard(key)
        self._store.delete(HEADER + key)
        del self.headers[key]

    def flush(self) -> None:
        """Write what changed to the store."""
        for key in self._changed:
            self._store.put(HEADER + key, _encode(self.headers[key]))
        for place in self._dirty:
            self._store.put(place, self._profiles[place].pack())
        self._changed.clear()
        self._dirty.clear()
        while len(self._profiles) > MAX_CACHED:
            self._profiles.popitem(last=False)

    def _load(self, place: bytes, kind: type[Profile]) -> Profile:
        profile = self._profiles.get(place)
        if profile is None:
            raw = self._store.get(place)
            profile = self._profiles[place] = kind() if raw is None else kind.unpack(raw)
        else:
            self._profiles.move_to_end(place)
        return profile


def _profile_key(kind: bytes, window: bytes, part: Segment | str) -> bytes:
    return kind + window + b"\0" + _encode(part)
