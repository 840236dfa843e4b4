"""Finds incidents of several models that have one cause, such as a column or a source that the models share.

Each model's incidents are published by the model's own task, exactly once and identically in `replay`. Which of them belong
together depends only on their content, not on the order in which they are read, and is computed when they are shown
(docs/decisions/incidents-across-models.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegauge.engine.events import timestamp
from tidegauge.incident.causal_graph import FEATURE_DRIFT, SCHEMA, VALUES

DATA_FAULTS = (SCHEMA, VALUES, FEATURE_DRIFT)


class CommonIncident(msgspec.Struct):
    """Incidents of at least two models with one cause. ``incidents``, ``models``: their ids and models, the earliest first;
    ``features``, ``sources``: those at fault in more than one of them; ``starts_at``: start of the first; ``status``: open
    while at least one is open."""

    incidents: list[str]
    models: list[str]
    features: list[str]
    sources: list[str]
    title: str
    starts_at: str
    status: str


class _Fault(msgspec.Struct):
    data: Mapping[str, Any]
    start: float
    end: float
    features: frozenset[str]
    sources: frozenset[str]

    def shares(self, other: _Fault) -> bool:
        return bool(self.features & other.features or self.sources & other.sources)


def together(incidents: Iterable[Mapping[str, Any]]) -> list[CommonIncident]:
    """Group incidents across models, the latest group first. ``incidents``: the ``data`` of the newest event of each, in any
    order.

    An incident joins an earlier one if both are caused by a data fault, the causes share a feature or a source, and the earlier
    one began at most one window before (the longer of their first windows). A group has at most one incident of each model.
    Incidents that were resolved as restated are in no group.
    """
    faults = sorted((_fault(data) for data in incidents if _is_fault(data)), key=lambda of: (of.start, of.data["incident"]))
    groups: list[list[_Fault]] = []
    for fault in faults:
        group = next((of for of in reversed(groups) if _belongs(fault, of)), None)
        if group is None:
            groups.append([fault])
        else:
            group.append(fault)
    return [_told(group) for group in reversed(groups) if len(group) > 1]


def _is_fault(data: Mapping[str, Any]) -> bool:
    return data["cause"]["concern"] in DATA_FAULTS and "resolution" not in data


def _fault(data: Mapping[str, Any]) -> _Fault:
    start, end = timestamp(data["starts_at"]), timestamp(data.get("first_window_end", data["starts_at"]))
    return _Fault(data, start, end, frozenset(data.get("features", ())), frozenset(data.get("sources", ())))


def _belongs(fault: _Fault, group: list[_Fault]) -> bool:
    first = group[0]
    reach = max(first.end - first.start, fault.end - fault.start)
    new = all(of.data["model"] != fault.data["model"] for of in group)
    return new and fault.start - first.start <= reach and any(fault.shares(of) for of in group)


def _told(group: list[_Fault]) -> CommonIncident:
    def shared(sets: list[frozenset[str]]) -> list[str]:
        return sorted(name for name in frozenset().union(*sets) if sum(name in of for of in sets) > 1)

    first = group[0].data
    return CommonIncident(
        [of.data["incident"] for of in group], [of.data["model"] for of in group], shared([of.features for of in group]),
        shared([of.sources for of in group]), first["title"], first["starts_at"],
        "open" if any(of.data["status"] == "open" for of in group) else "resolved",
    )  # fmt: skip
