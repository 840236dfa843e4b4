"""The profiles of one task's windows: kept in the store, with the most recently used ones in memory caches of limited size.

    d<window>\\0<segment>         packed DataProfile
    o<window>\\0<segment>         packed OutcomeProfile
    p<window>\\0<version>         packed PairProfile with another version whose name sorts after the window's own

Data and outcomes are stored separately, since late labels change only the small outcome side of old windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import lru_cache

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import Store
from tidegauge.monitor.profile_cache import ProfileCache
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import PairProfile

MAX_DATA_BYTES, MAX_OUTCOME_BYTES = 24 << 20, 8 << 20
"""About how many bytes of memory cached profiles of predictions and of outcomes may take; the latter hold for those of pairs,
too. They are apart so that a few large profiles of wide models do not displace the small ones of many segments' outcomes."""
MAX_ARRIVED_BYTES = 8 << 20
"""About how many bytes of profiles may wait to be merged."""
DATA, OUTCOME, PAIRS = b"d", b"o", b"p"
_encode = msgspec.msgpack.Encoder().encode


class WindowProfiles:
    """The profiles of all windows of one task. In every method ``window`` is the window's key in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._data = ProfileCache(store, DataProfile, DataProfile.unpack, MAX_DATA_BYTES)
        self._outcomes = ProfileCache(store, OutcomeProfile, OutcomeProfile.unpack, MAX_OUTCOME_BYTES)
        self._pairs = ProfileCache(store, PairProfile, PairProfile.unpack, MAX_OUTCOME_BYTES)
        # Many small parts of a window are collected until its profile is asked for, outcomes in packed form.
        self._arrived: dict[bytes, list[bytes]] = {}
        self._arrived_data: dict[bytes, list[DataProfile]] = {}
        self._arrived_bytes = 0
        """Of all that have arrived since the last time that all were merged."""

    def add_data(self, window: bytes, segment: Segment, data: DataProfile) -> None:
        self._arrived_data.setdefault(_place(DATA, window, segment), []).append(data)
        self._arrived_bytes += data.features.values.nbytes
        if self._arrived_bytes > MAX_ARRIVED_BYTES:
            self._merge_arrived_data()

    def add_packed_outcome(self, window: bytes, segment: Segment, outcome: bytes) -> None:
        self._arrived.setdefault(_place(OUTCOME, window, segment), []).append(outcome)

    def add_pairs(self, window: bytes, other: str, pairs: PairProfile) -> None:
        self.pairs(window, other).merge(pairs)
        self._pairs.changed(_place(PAIRS, window, other))

    def data(self, window: bytes, segment: Segment) -> DataProfile:
        return self._merged_data(_place(DATA, window, segment))

    def _merged_data(self, place: bytes) -> DataProfile:
        # Others are read or changed one after the other, so that none but this one is about to change.
        self._data.shrink()
        found = self._data.get(place)
        arrived = self._arrived_data.pop(place, None)
        if arrived is not None:
            before = found.features.values.nbytes
            found.merge_all(arrived)
            self._data.changed(place, found.features.values.nbytes - before)
        return found

    def _merge_arrived_data(self) -> None:
        for place in list(self._arrived_data):
            self._merged_data(place)
        self._arrived_bytes = 0

    def outcome(self, window: bytes, segment: Segment) -> OutcomeProfile:
        return self._outcome(_place(OUTCOME, window, segment))

    def outcome_to_change(self, window: bytes, segment: Segment) -> OutcomeProfile:
        """The profile of outcomes, to be added to."""
        place = _place(OUTCOME, window, segment)
        found = self._outcome(place)
        self._outcomes.changed(place)
        return found

    def _outcome(self, place: bytes) -> OutcomeProfile:
        found = self._outcomes.get(place)
        arrived = self._arrived.pop(place, None)
        if arrived is not None:
            found.merge_packed(arrived)
            self._outcomes.changed(place)
        return found

    def pairs(self, window: bytes, other: str) -> PairProfile:
        """The requests that both the window's version and the version ``other``, whose name sorts after it, have answered."""
        return self._pairs.get(_place(PAIRS, window, other))

    def forget(self, window: bytes, segments: Iterable[Segment], others: Iterable[str]) -> None:
        """Delete a window's profiles, including its pair profiles with the versions ``others``."""
        for segment in segments:
            data, outcome = _place(DATA, window, segment), _place(OUTCOME, window, segment)
            self._arrived_data.pop(data, None)
            self._data.forget(data)
            self._arrived.pop(outcome, None)
            self._outcomes.forget(outcome)
        for other in others:
            self._pairs.forget(_place(PAIRS, window, other))

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from the examples of all windows. Call it after ``flush``."""
        names = [request_id.encode() for request_id in request_ids]
        for kind, cache in ((DATA, self._data), (OUTCOME, self._outcomes)):
            # A packed profile with this example contains the bytes of its id; few other profiles do.
            for place in [place for place, raw in self._store.scan(kind) if any(name in raw for name in names)]:
                if cache.get(place).forget_requests(request_ids):
                    cache.changed(place)
        self.flush()

    def flush(self) -> None:
        """Write what changed to the store."""
        for place in list(self._arrived):
            self._outcome(place)
        self._merge_arrived_data()
        for cache in (self._data, self._outcomes, self._pairs):
            cache.flush()
            cache.shrink()


@lru_cache(1 << 15)
def _place(kind: bytes, window: bytes, part: Segment | str) -> bytes:
    return kind + window + b"\0" + _encode(part)
