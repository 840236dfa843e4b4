"""The alerts of one monitor task as its store keeps them: ``a<fingerprint>`` → packed AlertState."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any, NamedTuple

import msgspec

from tidegauge.alert.life_cycle import AlertState
from tidegauge.engine.stage import Store

ALERT = b"a"
EXAMPLES = ("request_ids", "traces")
"""The members of an alert's evidence that name requests."""
_decode = msgspec.msgpack.Decoder(AlertState).decode
packed = msgspec.msgpack.Encoder().encode
"""Encodes an AlertState as the store keeps it."""


class AlertName(NamedTuple):
    """What the alerts of one monitor on all segments of one model version have in common."""

    name: str
    model: str
    version: str


class AlertStates:
    """The state of every alert by fingerprint. Whoever changes a state must ``put`` it back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[str, AlertState] = {key[1:].decode(): _decode(raw) for key, raw in store.scan(ALERT)}
        self._firing: set[AlertName] | None = None
        self._heard = {_name(state) for state in self._states.values() if state.data}
        # An alert that was breached but has never fired has no labels yet, so its name is unknown.
        self._unnamed = any(not state.data for state in self._states.values())

    def get(self, fingerprint: str) -> AlertState | None:
        return self._states.get(fingerprint)

    def get_or_new(self, fingerprint: str) -> AlertState:
        """The alert's state, or a new one, which is only stored by ``put``."""
        return self._states.get(fingerprint) or AlertState()

    def fires(self, name: AlertName) -> bool:
        """Whether any alert of this name is firing."""
        return name in self._names_firing()

    def fires_any(self, model: str) -> bool:
        """Whether any alert of this model is firing."""
        return any(name.model == model for name in self._names_firing())

    def _names_firing(self) -> set[AlertName]:
        if self._firing is None:
            self._firing = {_name(state) for state in self._states.values() if state.firing}
        return self._firing

    def may_know(self, name: AlertName) -> bool:
        """Whether there may be a state of an alert of this name; False is certain."""
        return self._unnamed or name in self._heard

    def put(self, fingerprint: str, state: AlertState, name: AlertName | None = None) -> None:
        self._firing = None
        if name is not None:
            self._heard.add(name)
        self._states[fingerprint] = state
        self._store.put(ALERT + fingerprint.encode(), packed(state))

    def forget_requests(self, request_ids: Set[str]) -> None:
        """Remove these requests from the evidence that is kept of alerts."""
        for fingerprint, state in self._states.items():
            evidence = state.data.get("evidence", {})
            left = {name: _without(said, request_ids) if name in EXAMPLES else said for name, said in evidence.items()}
            if left != evidence:
                state.data["evidence"] = left
                self._store.put(ALERT + fingerprint.encode(), packed(state))

    def items(self) -> Iterator[tuple[str, AlertState]]:
        """Fingerprints and states."""
        return iter(self._states.items())

    def values(self) -> Iterator[AlertState]:
        return iter(self._states.values())


def _without(said: list[Any], request_ids: Set[str]) -> list[Any]:
    """The entries (request ids, or traces with a member request_id) that are not about these requests."""
    return [of for of in said if (of["request_id"] if isinstance(of, dict) else of) not in request_ids]


def _name(state: AlertState) -> AlertName:
    labels = state.data["labels"]
    return AlertName(labels["alertname"], labels["model"], labels["model_version"])
