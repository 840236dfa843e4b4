"""The requests of one join task as they stand in its store (``join/request_state.py`` has the form of an entry)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from tidegauge.engine.events import Label, Prediction
from tidegauge.engine.stage import Store

REQUEST, PENDING = b"r", b"n"
NOTHING = 255
"""Stands for the form of an entry where there is none."""


class PlacesByForm(NamedTuple):
    """Places of events whose request is ``new``, of those whose entry is ``known`` in the form asked for, and of all others,
    with those that are repeated in the chunk."""

    new: list[int]
    known: list[int]
    others: list[int]


class LookUp(msgspec.Struct, frozen=True):
    """What stands under the requests of a chunk: the key of each event, the entry found there, and the places of events
    whose request came before in the chunk."""

    keys: list[bytes]
    raws: list[bytes | None]
    repeated: set[int]

    def by_form(self, form: int) -> PlacesByForm:
        """The events told apart by whether their request has an entry of ``form``."""
        raws = self.raws
        forms = np.frombuffer(bytes([NOTHING if raw is None else raw[4] for raw in raws]), np.uint8)
        alone = np.ones(len(raws), bool)
        alone[list(self.repeated)] = False
        new, known = alone & (forms == NOTHING), alone & (forms == form)
        others = ~(new | known)
        return PlacesByForm(*(np.flatnonzero(of).tolist() for of in (new, known, others)))


class Requests:
    """``pending`` counts the requests of which only the prediction or only the label is known."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.pending = int(store.get(PENDING) or 0)

    def look_up(self, events: Sequence[Prediction] | Sequence[Label]) -> LookUp:
        keys = [REQUEST + event.request_id.encode() for event in events]
        repeated: set[int] = set()
        if len(set(keys)) < len(keys):
            seen: set[bytes] = set()
            for place, key in enumerate(keys):
                if key in seen:
                    repeated.add(place)
                seen.add(key)
        return LookUp(keys, self.store.get_many(keys), repeated)

    def entry(self, found: LookUp, place: int) -> bytes | None:
        """What stands now under the request at a place of the chunk."""
        return self.store.get(found.keys[place]) if place in found.repeated else found.raws[place]

    def save(self) -> None:
        self.store.put(PENDING, b"%d" % self.pending)
