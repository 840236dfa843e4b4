"""Parts of deltas that lie ahead of event time, until the slowest join partition has come as far.

u<model>\\0<arrival>        the parts that arrive in the quantum that starts then
"""

from __future__ import annotations

import msgspec

from tidegauge.delta import ProfileDelta
from tidegauge.stage import Store

HELD = b"u"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[ProfileDelta]).decode


class Held:
    """The parts of one monitor task that wait, by model and by the start of the quantum they arrive in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parts: dict[str, dict[float, list[ProfileDelta]]] = {}
        self._stored: set[bytes] = set()
        self._changed: set[tuple[str, float]] = set()
        for key, raw in store.scan(HELD):
            model = key[1:].rpartition(b"\0")[0].decode()
            parts = _decode(raw)
            self._parts.setdefault(model, {})[parts[0].arrival] = parts
            self._stored.add(key)

    def add(self, model: str, part: ProfileDelta) -> None:
        self._parts.setdefault(model, {}).setdefault(part.arrival, []).append(part)
        self._changed.add((model, part.arrival))

    def arrivals(self, model: str, until: float) -> list[float]:
        """Starts of the quanta, up to ``until``, in which something waits."""
        return [arrival for arrival in self._parts.get(model, ()) if arrival <= until]

    def take(self, model: str, arrival: float) -> list[ProfileDelta]:
        """Take out what arrives in the quantum that starts at ``arrival``."""
        self._changed.add((model, arrival))
        return self._parts.get(model, {}).pop(arrival, [])

    def flush(self) -> None:
        """Write what changed to the store."""
        for model, arrival in self._changed:
            key = b"%s%s\0%020d" % (HELD, model.encode(), round(arrival * 1000))
            parts = self._parts.get(model, {}).get(arrival)
            if parts:
                self._store.put(key, _encode(parts))
                self._stored.add(key)
            elif key in self._stored:
                self._store.delete(key)
                self._stored.discard(key)
        self._changed.clear()
