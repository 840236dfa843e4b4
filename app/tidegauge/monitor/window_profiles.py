"""The profiles of one task's windows: kept in the store, with the most recently used ones in a memory cache of limited size.

    d<window>\\0<segment>         packed DataProfile
    o<window>\\0<segment>         packed OutcomeProfile
    p<window>\\0<version>         packed PairProfile with another version whose name sorts after the window's own

Data and outcomes are stored separately, since late labels change only the small outcome side of old windows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Set
from functools import lru_cache

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import Store
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import PairProfile

MAX_CACHED_BYTES = 16 << 20
"""The most packed bytes of profiles kept in memory; unpacked they take two or three times as many."""
DATA, OUTCOME, PAIRS = b"d", b"o", b"p"
Profile = DataProfile | OutcomeProfile | PairProfile
_encode = msgspec.msgpack.Encoder().encode


class WindowProfiles:
    """The profiles of all windows of one task. In every method ``window`` is the window's key in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._profiles: OrderedDict[bytes, Profile] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        # Many small parts of a window are collected until its profile is asked for, outcomes in packed form.
        self._arrived: dict[bytes, list[bytes]] = {}
        self._arrived_data: dict[bytes, list[DataProfile]] = {}
        self._cached = 0
        self._dirty: set[bytes] = set()

    def add_data(self, window: bytes, segment: Segment, data: DataProfile) -> None:
        self._arrived_data.setdefault(_place(DATA, window, segment), []).append(data)

    def add_packed_outcome(self, window: bytes, segment: Segment, outcome: bytes) -> None:
        self._arrived.setdefault(_place(OUTCOME, window, segment), []).append(outcome)

    def add_pairs(self, window: bytes, other: str, pairs: PairProfile) -> None:
        self.pairs(window, other).merge(pairs)
        self._dirty.add(_place(PAIRS, window, other))

    def data(self, window: bytes, segment: Segment) -> DataProfile:
        return self._data(_place(DATA, window, segment))

    def _data(self, place: bytes) -> DataProfile:
        found = self._load(place, DataProfile)
        assert isinstance(found, DataProfile)
        arrived = self._arrived_data.pop(place, None)
        if arrived is not None:
            found.merge_all(arrived)
            self._dirty.add(place)
        return found

    def outcome(self, window: bytes, segment: Segment) -> OutcomeProfile:
        return self._outcome(_place(OUTCOME, window, segment))

    def outcome_to_change(self, window: bytes, segment: Segment) -> OutcomeProfile:
        """The profile of outcomes, to be added to."""
        place = _place(OUTCOME, window, segment)
        self._dirty.add(place)
        return self._outcome(place)

    def _outcome(self, place: bytes) -> OutcomeProfile:
        found = self._load(place, OutcomeProfile)
        assert isinstance(found, OutcomeProfile)
        arrived = self._arrived.pop(place, None)
        if arrived is not None:
            found.merge_packed(arrived)
            self._dirty.add(place)
        return found

    def pairs(self, window: bytes, other: str) -> PairProfile:
        """The requests that both the window's version and the version ``other``, whose name sorts after it, have answered."""
        found = self._load(_place(PAIRS, window, other), PairProfile)
        assert isinstance(found, PairProfile)
        return found

    def _load(self, place: bytes, kind: type[Profile]) -> Profile:
        profile = self._profiles.get(place)
        if profile is None:
            raw = self._store.get(place)
            profile = self._profiles[place] = kind() if raw is None else kind.unpack(raw)
            self._note_size(place, 0 if raw is None else len(raw))
        else:
            self._profiles.move_to_end(place)
        return profile

    def forget(self, window: bytes, segments: Iterable[Segment], others: Iterable[str]) -> None:
        """Delete a window's profiles, including its pair profiles with the versions ``others``."""
        profiles = [_place(kind, window, segment) for segment in segments for kind in (DATA, OUTCOME)]
        for place in (*profiles, *(_place(PAIRS, window, other) for other in others)):
            self._profiles.pop(place, None)
            self._cached -= self._sizes.pop(place, 0)
            self._dirty.discard(place)
            self._arrived.pop(place, None)
            self._arrived_data.pop(place, None)
            self._store.delete(place)

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from the examples of all windows. Call it after ``flush``."""
        names = [request_id.encode() for request_id in request_ids]
        for kind, profile in ((DATA, DataProfile), (OUTCOME, OutcomeProfile)):
            # A packed profile with this example contains the bytes of its id; few other profiles do.
            for place in [place for place, raw in self._store.scan(kind) if any(name in raw for name in names)]:
                found = self._load(place, profile)
                assert not isinstance(found, PairProfile)
                if found.forget_requests(request_ids):
                    self._dirty.add(place)
        self.flush()

    def flush(self) -> None:
        """Write what changed to the store."""
        for place in list(self._arrived):
            self._outcome(place)
        for place in list(self._arrived_data):
            self._data(place)
        for place in self._dirty:
            raw = self._profiles[place].pack()
            self._store.put(place, raw)
            self._note_size(place, len(raw))
        self._dirty.clear()
        while self._cached > MAX_CACHED_BYTES:
            place, _ = self._profiles.popitem(last=False)
            self._cached -= self._sizes.pop(place, 0)

    def _note_size(self, place: bytes, size: int) -> None:
        self._cached += size - self._sizes.get(place, 0)
        self._sizes[place] = size


@lru_cache(1 << 15)
def _place(kind: bytes, window: bytes, part: Segment | str) -> bytes:
    return kind + window + b"\0" + _encode(part)
