"""The requests of one join task in its store. ``join/request_state.py`` defines their entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tidegauge.engine.events import Label, Prediction
from tidegauge.engine.stage import Store
from tidegauge.join.request_state import decode

REQUEST, PENDING = b"r", b"n"
NOTHING = 255
"""The form that stands for a missing entry."""


class PlacesByForm(NamedTuple):
    """The positions in a chunk of events whose request is ``new``, of events whose request is ``known`` in the requested form,
    and of all ``others``, which include events whose request occurs earlier in the chunk."""

    new: list[int]
    known: list[int]
    others: list[int]


class RequestLookup(msgspec.Struct, frozen=True):
    """The stored entries of the requests of a chunk (n): the key of each event, and its encoded entry or None. ``repeated``:
    the positions of events whose request occurs earlier in the chunk, so that its entry may have changed since."""

    keys: list[bytes]
    raws: list[bytes | None]
    repeated: set[int]

    def by_form(self, form: int) -> PlacesByForm:
        """The positions of the events by whether their request has an entry, and whether it has this form."""
        raws = self.raws
        forms = np.frombuffer(bytes([NOTHING if raw is None else raw[4] for raw in raws]), np.uint8)
        alone = np.ones(len(raws), bool)
        alone[list(self.repeated)] = False
        new, known = alone & (forms == NOTHING), alone & (forms == form)
        others = ~(new | known)
        return PlacesByForm(*(np.flatnonzero(of).tolist() for of in (new, known, others)))


class Requests:
    """The requests of one join task. ``pending``: how many of them have only predictions or only labels."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pending = int(store.get(PENDING) or 0)

    def look_up(self, events: Sequence[Prediction] | Sequence[Label]) -> RequestLookup:
        keys = [REQUEST + event.request_id.encode() for event in events]
        repeated: set[int] = set()
        if len(set(keys)) < len(keys):
            seen: set[bytes] = set()
            for place, key in enumerate(keys):
                if key in seen:
                    repeated.add(place)
                seen.add(key)
        return RequestLookup(keys, self.store.get_many(keys), repeated)

    def entry(self, found: RequestLookup, place: int) -> bytes | None:
        """The current encoded entry of the request at a position of the chunk."""
        return self.store.get(found.keys[place]) if place in found.repeated else found.raws[place]

    def forget(self, request_ids: Sequence[str]) -> None:
        """Delete the entries of these requests."""
        for request_id in request_ids:
            key = REQUEST + request_id.encode()
            raw = self.store.get(key)
            if raw is not None:
                self.store.delete(key)
                entry = decode(raw)
                self.pending -= not (entry.statements and entry.predictions)

    def save(self) -> None:
        self.store.put(PENDING, b"%d" % self.pending)
