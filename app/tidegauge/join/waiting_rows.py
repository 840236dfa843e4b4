"""The rows of one join task that wait to become columns, version by version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.events import Prediction
from tidegauge.join.contexts import Context
from tidegauge.join.outcome_columns import OutcomeRow


class VersionRows:
    """The rows of one version: predictions and the context of each, outcomes row by row, and outcomes
    as joined entries (see ``join/request_state.py``) and the request id of each."""

    __slots__ = ("contexts", "events", "joined", "outcomes", "request_ids")

    def __init__(self) -> None:
        self.events: list[Prediction] = []
        self.contexts: list[int] = []
        self.outcomes: list[OutcomeRow] = []
        self.joined: list[NDArray[np.void]] = []
        self.request_ids: list[bytes] = []


class WaitingRows:
    """``by_name``: the rows of each (model, version). ``contexts`` are those of ``Contexts.by_id``."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        self._contexts = contexts
        self.by_name: dict[tuple[str, str], VersionRows] = {}

    def predicted(self, events: list[Prediction], contexts: list[int]) -> list[tuple[str, float]]:
        """Queue predictions and the number of each one's context; the largest ``ts`` of each version, with its model."""
        latest = []
        different = set(contexts)
        for name, members in self._members(different).items():
            chosen, numbers = events, contexts
            if len(members) < len(different):
                chosen = [event for event, context in zip(events, contexts, strict=True) if context in members]
                numbers = [context for context in contexts if context in members]
            version = self._version(name)
            version.events.extend(chosen)
            version.contexts.extend(numbers)
            latest.append((name[0], float(max([event.ts for event in chosen]))))
        return latest

    def joined(self, table: NDArray[np.void], request_ids: list[bytes]) -> list[tuple[str, float]]:
        """Queue outcomes known for the first time, as joined entries; the largest label ``ts`` of each version, with its
        model."""
        latest = []
        contexts = np.unique(table["context"]).tolist()
        for name, members in self._members(contexts).items():
            chosen, ids = table, request_ids
            if len(members) < len(contexts):
                flags = np.isin(table["context"], list(members))
                chosen, ids = table[flags], [request_ids[place] for place in np.flatnonzero(flags).tolist()]
            version = self._version(name)
            version.joined.append(chosen)
            version.request_ids.extend(ids)
            latest.append((name[0], float(chosen["label_ts"].max())))
        return latest

    def _members(self, contexts: Iterable[int]) -> dict[tuple[str, str], set[int]]:
        found: dict[tuple[str, str], set[int]] = {}
        for context in contexts:
            of = self._contexts[context]
            found.setdefault((of.model, of.version), set()).add(context)
        return found

    def outcome(self, row: OutcomeRow) -> None:
        of = self._contexts[row.context]
        self._version((of.model, of.version)).outcomes.append(row)

    def _version(self, name: tuple[str, str]) -> VersionRows:
        version = self.by_name.get(name)
        if version is None:
            version = self.by_name[name] = VersionRows()
        return version
