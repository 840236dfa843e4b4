"""A cache of profiles of one kind in front of a store, of limited size however many profiles are read or changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from tidegauge.engine.stage import Store

P = TypeVar("P", bound=Any)
FIXED_BYTES = 2000
"""The bytes of memory that a profile takes in addition to twice those of its packed form."""


class ProfileCache(Generic[P]):
    """Profiles by their key in the store. ``new``: makes an empty profile; ``unpack``: makes one of what ``pack`` returned;
    ``most``: about how many bytes of memory they may take after ``shrink``."""

    def __init__(self, store: Store, new: Callable[[], P], unpack: Callable[[bytes], P], most: int) -> None:
        self._store, self._new, self._unpack, self._most = store, new, unpack, most
        self._profiles: OrderedDict[bytes, P] = OrderedDict()
        self._sizes: dict[bytes, int] = {}
        self._dirty: set[bytes] = set()
        self.held_bytes = 0
        """About how many bytes the cached profiles take."""

    def get(self, place: bytes) -> P:
        """The profile with the key ``place``, an empty one if there is none."""
        profile = self._profiles.get(place)
        if profile is None:
            raw = self._store.get(place)
            profile = self._profiles[place] = self._new() if raw is None else self._unpack(raw)
            self._note_size(place, FIXED_BYTES + 2 * len(raw or b""))
        else:
            self._profiles.move_to_end(place)
        return profile

    def changed(self, place: bytes, grown: int = 0) -> None:
        """Note that a cached profile has changed, and takes about ``grown`` bytes more."""
        self._dirty.add(place)
        self._note_size(place, self._sizes[place] + grown)

    def forget(self, place: bytes) -> None:
        """Delete a profile, in the store too."""
        self._profiles.pop(place, None)
        self.held_bytes -= self._sizes.pop(place, 0)
        self._dirty.discard(place)
        self._store.delete(place)

    def flush(self) -> None:
        """Write what changed to the store."""
        for place in self._dirty:
            self._write(place)
        self._dirty.clear()

    def shrink(self) -> None:
        """Drop the profiles that were used longest ago, as long as all take too much memory; those that have changed are
        written. Call it when nobody is about to change any."""
        while self.held_bytes > self._most:
            place = next(iter(self._profiles))
            if place in self._dirty:
                self._write(place)
                self._dirty.discard(place)
            del self._profiles[place]
            self.held_bytes -= self._sizes.pop(place)

    def _write(self, place: bytes) -> None:
        raw = self._profiles[place].pack()
        self._store.put(place, raw)
        self._note_size(place, FIXED_BYTES + 2 * len(raw))

    def _note_size(self, place: bytes, size: int) -> None:
        self.held_bytes += size - self._sizes.get(place, 0)
        self._sizes[place] = size
