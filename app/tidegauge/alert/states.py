"""The alerts of one monitor task as its store keeps them: ``a<fingerprint>`` → packed AlertState."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tidegauge.alert.life_cycle import AlertState
from tidegauge.engine.stage import Store

ALERT = b"a"
_decode = msgspec.msgpack.Decoder(AlertState).decode
packed = msgspec.msgpack.Encoder().encode
"""An AlertState as the store has it."""


class AlertStates:
    """Every alert's state by fingerprint. Whoever changes one puts it back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[str, AlertState] = {key[1:].decode(): _decode(raw) for key, raw in store.scan(ALERT)}

    def get(self, fingerprint: str) -> AlertState | None:
        return self._states.get(fingerprint)

    def get_or_new(self, fingerprint: str) -> AlertState:
        """The alert's state; one that never fired where it is not known yet, which is kept once it is put."""
        return self._states.get(fingerprint) or AlertState()

    def put(self, fingerprint: str, state: AlertState) -> None:
        self._states[fingerprint] = state
        self._store.put(ALERT + fingerprint.encode(), packed(state))

    def items(self) -> Iterator[tuple[str, AlertState]]:
        """Fingerprints and states."""
        return iter(self._states.items())

    def values(self) -> Iterator[AlertState]:
        return iter(self._states.values())
