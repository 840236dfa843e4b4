"""Holds parts of deltas that are ahead of event time until the slowest join partition has caught up.

u<model>\\0<arrival>\\0<number>        one part that arrives in the quantum that starts then

Each part has a key of its own, since all the parts of a quantum together may be larger than a single record can be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set
from itertools import islice

import msgspec

from tidegauge.engine.delta import Part
from tidegauge.engine.stage import Store
from tidegauge.monitor.unnamed_parts import without

EARLY_PART = b"u"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Part).decode


class _Quantum:
    """The parts that wait for one quantum, and the store keys of those that are already stored."""

    __slots__ = ("keys", "parts")

    def __init__(self) -> None:
        self.parts: deque[Part] = deque()
        self.keys: deque[bytes] = deque()


class EarlyParts:
    """The waiting parts of one monitor task, by model and by the start of the quantum in which they arrive."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, dict[float, _Quantum]] = {}
        self._grown: set[tuple[str, float]] = set()
        self._gone: list[bytes] = []
        self._number = 0
        for key, raw in store.scan(EARLY_PART):
            model, _, number = key[1:].rsplit(b"\0", 2)
            part = _decode(raw)
            quantum = self._quantum(model.decode(), part.arrival)
            quantum.parts.append(part)
            quantum.keys.append(key)
            self._number = max(self._number, int(number) + 1)

    def _quantum(self, model: str, arrival: float) -> _Quantum:
        return self._waiting.setdefault(model, {}).setdefault(arrival, _Quantum())

    def add(self, model: str, part: Part) -> None:
        self._quantum(model, part.arrival).parts.append(part)
        self._grown.add((model, part.arrival))

    def arrivals(self, model: str, until: float) -> list[float]:
        """The starts of the quanta, up to ``until``, for which parts wait."""
        return [arrival for arrival in self._waiting.get(model, ()) if arrival <= until]

    def take(self, model: str, arrival: float) -> Part | None:
        """Take out the next part that arrives in the quantum that starts at ``arrival``; None if there is none left."""
        quantum = self._waiting.get(model, {}).get(arrival)
        if quantum is None:
            return None
        part = quantum.parts.popleft()
        if quantum.keys:
            self._gone.append(quantum.keys.popleft())
        if not quantum.parts:
            del self._waiting[model][arrival]
            self._grown.discard((model, arrival))
        return part

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from waiting parts, in memory and in the store."""
        for quanta in self._waiting.values():
            for quantum in quanta.values():
                for place, part in enumerate(quantum.parts):
                    left = without(part, request_ids)
                    if left is not part:
                        quantum.parts[place] = left
                        if place < len(quantum.keys):
                            self._store.put(quantum.keys[place], _encode(left))

    def flush(self) -> None:
        """Write what changed to the store."""
        for model, arrival in self._grown:
            quantum = self._waiting[model][arrival]
            for part in islice(quantum.parts, len(quantum.keys), None):
                key = b"%s%s\0%020d\0%012d" % (EARLY_PART, model.encode(), round(arrival * 1000), self._number)
                self._store.put(key, _encode(part))
                quantum.keys.append(key)
                self._number += 1
        for key in self._gone:
            self._store.delete(key)
        self._grown.clear()
        self._gone.clear()
