"""The rows of one join task that wait to become columns, by version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.events import Prediction
from tidegauge.join.contexts import Context
from tidegauge.join.outcome_columns import OutcomeRow
from tidegauge.spec import ModelVersion


class VersionRows:
    """The rows of one version. ``events``, ``contexts``: predictions, and the number of each one's context; ``outcomes``:
    single outcomes; ``joined``, ``request_ids``: outcomes as arrays of the layout JOINED of ``join/request_state.py``, and the
    request id of each."""

    __slots__ = ("contexts", "events", "joined", "outcomes", "request_ids")

    def __init__(self) -> None:
        self.events: list[Prediction] = []
        self.contexts: list[int] = []
        self.outcomes: list[OutcomeRow] = []
        self.joined: list[NDArray[np.void]] = []
        self.request_ids: list[bytes] = []


class NewestEventTime(NamedTuple):
    """The largest ``ts`` among some events of one version of ``model``."""

    model: str
    ts: float


class WaitingRows:
    """The waiting rows of one join task. ``by_name``: by version; ``contexts``: those of ``Contexts.by_id``."""

    def __init__(self, contexts: Sequence[Context]) -> None:
        self._contexts = contexts
        self.by_name: dict[ModelVersion, VersionRows] = {}

    def predicted(self, events: list[Prediction], contexts: list[int]) -> list[NewestEventTime]:
        """Queue predictions; ``contexts``: the number of each one's context. Returns the newest of each version."""
        versions = self._versions_of(set(contexts))
        begins = {name: len(version.events) for name, version in versions.items()}
        if len(versions) == 1:
            (version,) = versions.values()
            version.events.extend(events)
            version.contexts.extend(contexts)
        else:
            by_context = {context: versions[self._name(context)] for context in set(contexts)}
            for event, context in zip(events, contexts, strict=True):
                version = by_context[context]
                version.events.append(event)
                version.contexts.append(context)
        return [
            NewestEventTime(name.model, float(max([event.ts for event in version.events[begins[name] :]])))
            for name, version in versions.items()
        ]

    def joined(self, table: NDArray[np.void], request_ids: list[bytes]) -> list[NewestEventTime]:
        """Queue outcomes known for the first time; ``table`` (n): rows of the layout JOINED. Returns the newest label of each
        version."""
        contexts, which = np.unique(table["context"], return_inverse=True)
        versions = self._versions_of(contexts.tolist())
        numbers = {name: number for number, name in enumerate(versions)}
        owners = np.array([numbers[self._name(context)] for context in contexts.tolist()])[which]
        order = np.argsort(owners, kind="stable")
        bounds = np.searchsorted(owners[order], np.arange(len(versions) + 1)).tolist()
        latest = []
        for (name, version), begin, end in zip(versions.items(), bounds, bounds[1:], strict=False):
            chosen = table[order[begin:end]] if len(versions) > 1 else table
            version.joined.append(chosen)
            version.request_ids.extend([request_ids[place] for place in order[begin:end].tolist()])
            latest.append(NewestEventTime(name.model, float(chosen["label_ts"].max())))
        return latest

    def _name(self, context: int) -> ModelVersion:
        of = self._contexts[context]
        return ModelVersion(of.model, of.version)

    def _versions_of(self, contexts: Iterable[int]) -> dict[ModelVersion, VersionRows]:
        return {name: self._version(name) for name in dict.fromkeys(map(self._name, contexts))}

    def outcome(self, row: OutcomeRow) -> None:
        self._version(self._name(row.context)).outcomes.append(row)

    def _version(self, name: ModelVersion) -> VersionRows:
        version = self.by_name.get(name)
        if version is None:
            version = self.by_name[name] = VersionRows()
        return version
