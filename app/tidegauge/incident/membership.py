"""Which incident an alert belongs to, and which of an incident's alerts is its cause.

An alert joins an incident of its model, whatever the version, window and segment, if what it is about is related to what the
incident is about and began close to it: within the windows next to it, or, as a consequence in the same version, within
REACH windows, since a drop of performance shows later than what it follows from. One that is about the same as an alert
of an incident which has not ended, or only just, continues it, however long ago the incident began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegauge.engine.events import timestamp
from tidegauge.incident.causal_graph import ORDER, concern_of, follows
from tidegauge.judge.meaning import LISTS
from tidegauge.spec import duration

REACH = 3
"""Windows within which a consequence follows its cause."""


class Member(msgspec.Struct, array_like=True):
    """One alert of an incident: what it is about, and how it stands. ``onset`` to ``onset_end``: the window it began with (a
    detector's moment); ``last``: when it was last there, by the newest window that shows it; ``value`` and ``baseline`` as
    when it began; ``names``: the features that are missing or unexpected; ``affected``: requests of the window, while it was
    open, that something was wrong with; ``kind``: of the alert."""

    alertname: str
    metric: str
    version: str
    segment: str
    feature: str
    severity: str
    onset: float
    onset_end: float
    last: float
    firing: bool = True
    restated: bool = False
    value: float | str | None = None
    baseline: float | None = None
    names: list[str] = []
    summary: str = ""
    runbook: str = ""
    affected: int = 0
    kind: str = "monitor"

    @property
    def concern(self) -> str:
        return concern_of(self.metric)

    @property
    def features(self) -> set[str]:
        """The features it is about; none where it is about the model as a whole."""
        return set(self.names) or {self.feature} - {""}

    @property
    def about(self) -> tuple[str, str, str]:
        """Alerts that agree in this are about the same."""
        return self.version, self.concern, self.feature


class Incident(msgspec.Struct, array_like=True):
    """One incident. ``members`` by their alerts' fingerprints; ``sequence`` numbers what was said of it; ``title``: its
    sentence when it was last told; ``last``: event time of its last change."""

    id: str
    model: str
    members: dict[str, Member] = {}
    sequence: int = 0
    title: str = ""
    last: float = 0.0

    @property
    def open(self) -> bool:
        return any(member.firing for member in self.members.values())

    @property
    def starts_at(self) -> float:
        return min(member.onset for member in self.members.values())

    @property
    def severity(self) -> str:
        """The worst of its alerts that fire, or, once none does, of all."""
        among = [m for m in self.members.values() if m.firing] or list(self.members.values())
        return "critical" if any(m.severity == "critical" for m in among) else among[0].severity

    @property
    def cause(self) -> str:
        """Fingerprint of the alert that the others may follow from: of those that began with the first window, the one
        earliest in the causal order, the worst before the others."""
        start = self.starts_at
        first = {mark: m for mark, m in self.members.items() if m.onset - start <= m.onset_end - m.onset} or self.members
        return min(first, key=lambda mark: (*_rank(first[mark]), mark))

    @property
    def ordered(self) -> list[tuple[str, Member]]:
        """Its alerts, from the cause to the last consequence."""
        return sorted(self.members.items(), key=lambda item: (*_rank(item[1]), item[0]))


def _rank(member: Member) -> tuple[int, bool, float]:
    return ORDER.index(member.concern), member.severity != "critical", member.onset


def member_of(alert: Mapping[str, Any]) -> Member:
    """An alert's ``data`` as a member."""
    labels, window = alert["labels"], alert["window"]
    names = [of["feature"] for of in alert["evidence"]["features"]] if alert["metric"] in LISTS else []
    onset = timestamp(alert["starts_at"])
    value = alert["value"]
    return Member(
        labels["alertname"], alert["metric"], labels["model_version"], labels["segment"],
        labels.get("feature", labels.get("metric", "")), alert["severity"],
        onset, onset + (duration(window["length"]) if window else 0.0),
        onset if alert["ends_at"] is None else timestamp(alert["ends_at"]),
        alert["status"] == "firing", alert["annotations"].get("resolution") == "restated",
        value if isinstance(value, int | float | str) else None, alert["baseline"], names,
        alert["annotations"]["summary"], alert["annotations"].get("runbook_url", ""), alert.get("affected", 0), alert["kind"],
    )  # fmt: skip


def incident_for(member: Member, incidents: Iterable[Incident]) -> Incident | None:
    """The incident an alert that has just fired belongs to, the nearest in time, the latest of those; None: a new one."""
    gaps = ((_gap(member, incident), incident) for incident in incidents)
    near = [(gap, -incident.last, incident.id, incident) for gap, incident in gaps if gap is not None]
    return min(near, key=lambda found: found[:3])[3] if near else None


def _gap(member: Member, incident: Incident) -> float | None:
    """Seconds between an alert and the nearest one of an incident that it may belong with; None where there is none."""
    found: list[float] = []
    for other in incident.members.values():
        length = max(member.onset_end - member.onset, other.onset_end - other.onset)
        gap = max(member.onset - other.onset_end, other.onset - member.onset_end, 0.0)
        reach = 1
        if member.about == other.about:
            # The same trouble again: counted from when it was last there.
            gap = min(gap, 0.0 if other.firing else max(member.onset - other.last, 0.0))
        elif other.onset - incident.starts_at > REACH * length:
            # Else one thing after another, each close to the one before, would be one incident for ever.
            continue
        elif _may_follow(other, member):
            reach = REACH if member.version == other.version else 1
        elif not (member.concern == other.concern or _may_follow(member, other)):
            continue
        if gap <= reach * length:
            found.append(gap)
    return min(found, default=None)


def _may_follow(cause: Member, consequence: Member) -> bool:
    """Whether one alert may be a consequence of the other, which then began no later, and of the same feature if both have
    one."""
    apart = cause.features and consequence.features and not cause.features & consequence.features
    return follows(cause.concern, consequence.concern) and cause.onset < consequence.onset_end and not apart
