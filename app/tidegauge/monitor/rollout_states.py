"""The comparisons of versions that one monitor task keeps, in memory and in its store.

g<model>\\0<monitor>\\0<window>\\0<champion>\\0<challenger>     Rollout
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tidegauge.engine.stage import Store
from tidegauge.rollout.compared_versions import STATE, Rollout

_encode = msgspec.msgpack.Encoder().encode


class RolloutStates:
    """All comparisons by key. Changes are written to the store by ``flush``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        decode = msgspec.msgpack.Decoder(Rollout).decode
        self._by_key: dict[bytes, Rollout] = {key: decode(raw) for key, raw in store.scan(STATE)}
        self._changed: set[bytes] = set()

    def __iter__(self) -> Iterator[Rollout]:
        return iter(list(self._by_key.values()))

    @property
    def newest_records(self) -> list[dict[str, Any]]:
        """The newest record of each comparison that has not ended."""
        return [msgspec.json.decode(of.record) for of in self._by_key.values() if of.record and not of.ended]

    def find(self, key: bytes) -> Rollout | None:
        return self._by_key.get(key)

    def changed(self, rollout: Rollout) -> None:
        """Note that a comparison is new or has changed."""
        self._by_key[rollout.key] = rollout
        self._changed.add(rollout.key)

    def delete(self, rollout: Rollout) -> None:
        del self._by_key[rollout.key]
        self._changed.discard(rollout.key)
        self._store.delete(rollout.key)

    def flush(self) -> None:
        """Write what changed to the store."""
        for key in self._changed:
            self._store.put(key, _encode(self._by_key[key]))
        self._changed.clear()
