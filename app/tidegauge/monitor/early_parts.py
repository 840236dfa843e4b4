"""Holds parts of deltas that are ahead of event time until the slowest join partition has caught up.

u<model>\\0<arrival>\\0<number>        one part that arrives in the quantum that starts then

Each part has a key of its own, since all the parts of a quantum together may be larger than a single record can be. Of a
backlog many more parts wait than memory should hold: what comes beyond MAX_HELD_BYTES is read from the store when its time
comes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Set

import msgspec

from tidegauge.engine.delta import Part, ProfileDelta
from tidegauge.engine.stage import Store
from tidegauge.monitor.unnamed_parts import without

EARLY_PART = b"u"
MAX_HELD_BYTES = 8 << 20
"""The most bytes of waiting parts that are kept in memory, beyond those that are not stored yet."""
FIXED_BYTES = 500
"""The bytes of memory that a part, and each combination of segment values in it, takes in addition to its data."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Part).decode


def _size(part: Part) -> int:
    """About how many bytes a part takes in memory."""
    data = FIXED_BYTES + len(part.data or b"") + len(part.outcome or b"")
    if isinstance(part, ProfileDelta):
        return data + sum(map(len, part.pairs.values()))
    return data + len(part.times) + len(part.codes) + FIXED_BYTES * len(part.segments)


class _Quantum:
    """The parts that wait for one quantum, None for one that is only in the store, and the store keys of those that are
    stored."""

    __slots__ = ("keys", "parts")

    def __init__(self) -> None:
        self.parts: deque[Part | None] = deque()
        self.keys: deque[bytes] = deque()


class EarlyParts:
    """The waiting parts of one monitor task, by model and by the start of the quantum in which they arrive. ``held_bytes``:
    about how many bytes of them are in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, dict[float, _Quantum]] = {}
        self._grown: set[tuple[str, float]] = set()
        self._gone: list[bytes] = []
        self._number = 0
        self.held_bytes = 0
        for key, raw in store.scan(EARLY_PART):
            model, _, number = key[1:].rsplit(b"\0", 2)
            quantum = self._quantum(model.decode(), _decode(raw).arrival)
            quantum.parts.append(None)
            quantum.keys.append(key)
            self._number = max(self._number, int(number) + 1)

    def _quantum(self, model: str, arrival: float) -> _Quantum:
        return self._waiting.setdefault(model, {}).setdefault(arrival, _Quantum())

    def add(self, model: str, part: Part) -> None:
        self._quantum(model, part.arrival).parts.append(part)
        self._grown.add((model, part.arrival))
        self.held_bytes += _size(part)

    def arrivals(self, model: str, until: float) -> list[float]:
        """The starts of the quanta, up to ``until``, for which parts wait."""
        return [arrival for arrival in self._waiting.get(model, ()) if arrival <= until]

    def take(self, model: str, arrival: float) -> Part | None:
        """Take out the next part that arrives in the quantum that starts at ``arrival``; None if there is none left."""
        quantum = self._waiting.get(model, {}).get(arrival)
        if quantum is None:
            return None
        part = quantum.parts.popleft()
        key = quantum.keys.popleft() if quantum.keys else None
        if part is None:
            assert key is not None
            part = self._read(key)
        else:
            self.held_bytes -= _size(part)
        if key is not None:
            self._gone.append(key)
        if not quantum.parts:
            del self._waiting[model][arrival]
            self._grown.discard((model, arrival))
        return part

    def _read(self, key: bytes) -> Part:
        part: Part = _decode(self._store.get(key) or b"")
        return part

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from waiting parts, in memory and in the store."""
        for quanta in self._waiting.values():
            for quantum in quanta.values():
                for place, held in enumerate(quantum.parts):
                    part = self._read(quantum.keys[place]) if held is None else held
                    left = without(part, request_ids)
                    if left is not part:
                        if held is not None:
                            quantum.parts[place] = left
                            self.held_bytes += _size(left) - _size(held)
                        if place < len(quantum.keys):
                            self._store.put(quantum.keys[place], _encode(left))

    def flush(self) -> None:
        """Write what changed to the store. If that is more than memory should hold, what is new stays in the store alone."""
        held = self.held_bytes <= MAX_HELD_BYTES
        for model, arrival in self._grown:
            quantum = self._waiting[model][arrival]
            for place in range(len(quantum.keys), len(quantum.parts)):
                part = quantum.parts[place]
                assert part is not None
                key = b"%s%s\0%020d\0%012d" % (EARLY_PART, model.encode(), round(arrival * 1000), self._number)
                self._store.put(key, _encode(part))
                quantum.keys.append(key)
                self._number += 1
                if not held:
                    quantum.parts[place] = None
                    self.held_bytes -= _size(part)
        for key in self._gone:
            self._store.delete(key)
        self._grown.clear()
        self._gone.clear()
