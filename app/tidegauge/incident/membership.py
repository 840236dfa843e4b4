"""Which incident an alert belongs to, and which of an incident's alerts is its cause.

An alert joins an incident of its model, whatever the window and segment, if what it is about is related to what the incident
is about and began close to it: within the windows next to it, or, as a consequence in the same version, within REACH
windows, since a drop of performance shows later than what it follows from. One that is about the same as an alert of an
incident which has not ended, or only just, continues it, however long ago the incident began. What comes in is the same for all
versions; what a version makes of it is its own, and joins another's only where both begin an incident together. With a verdict
that late labels have undone nothing goes on.

What cannot have brought a drop of performance is not its cause: values missing in 7 % of the requests of a window do not
turn the labels of all of them around, and a shift of inputs that leaves what is expected of the scores where it was
explains nothing (``metrics/explained.py``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from tidegauge.engine.events import timestamp
from tidegauge.incident.causal_graph import (
    FEATURE_DRIFT,
    ORDER,
    SCHEMA,
    SCORE_DRIFT,
    SHARED,
    SYSTEM,
    VALUES,
    concern_of,
    follows,
)
from tidegauge.judge.meaning import LISTS, alike
from tidegauge.spec import duration

REACH = 3
"""Windows within which a consequence follows its cause."""
EXPLAINED = 0.5
"""A drop of which the shift of the inputs explains less than this does not follow from it."""
SWING = {"accuracy": 1.0, "brier": 1.0, "ece": 2.0, "roc_auc": 2.0}
"""By how much a number of performance changes at most if a share of its window changes, as a multiple of the share."""


class Member(msgspec.Struct, array_like=True):
    """One alert of an incident: what it is about, and how it stands. ``onset`` to ``onset_end``: the window it began with (a
    detector's moment); ``last``: when it was last there, by the newest window that shows it; ``value`` and ``baseline`` as
    when it began; ``names``: the features that are missing or unexpected; ``affected``: requests of the window, while it was
    open, that something was wrong with; ``kind``: of the alert; ``explained`` and ``faulty``: what its evidence says the shift
    of the inputs explains, and of what share of the window's requests a feature's value was at fault; None where that is
    unknown; ``sample_size``: what its value rests on; ``sources``: what its features come from."""

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
    explained: float | None = None
    faulty: dict[str, float] | None = None
    sample_size: int = 0
    sources: list[str] = []

    @property
    def concern(self) -> str:
        return concern_of(self.metric)

    @property
    def features(self) -> set[str]:
        """The features it is about; none where it is about the model as a whole."""
        return set(self.names) or {self.feature} - {""}

    def same_as(self, other: Member) -> bool:
        """Whether both are about the same: for what comes in, whatever the version; of performance the mix of labels, which may
        have moved for weeks, is not the same as how well they are predicted."""
        group = self.metric.partition(".")[0] == other.metric.partition(".")[0]
        version = self.concern in SHARED or self.version == other.version
        named = not (self.names or other.names) or bool(self.features & other.features)
        return version and group and self.concern == other.concern and self.feature == other.feature and named


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
    def alike(self) -> list[Member]:
        """The alerts that are told together with the cause: of its concern, and saying the same of other features."""
        kind = _kind(self.members[self.cause])
        return [member for member in self.members.values() if _kind(member) == kind]

    @property
    def in_causal_order(self) -> dict[str, Member]:
        """Its alerts by fingerprint, from the cause to the last consequence."""
        marks = sorted(self.members, key=lambda mark: (*_rank(self.members[mark]), mark))
        return {mark: self.members[mark] for mark in marks}


def _kind(member: Member) -> tuple[str, str]:
    return member.concern, alike(member.metric)


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
        alert["evidence"].get("explained", {}).get("share"), alert["evidence"].get("faulty_values"), alert["sample_size"],
        alert["evidence"].get("sources", []),
    )  # fmt: skip


class _Nearness(NamedTuple):
    """How near an alert of an incident is to a new one: the smallest is the nearest. ``relation``: 0 is the same trouble, 1 of
    the same version, 2 of another; ``gap``: seconds between them; ``further``: of another concern."""

    relation: int
    gap: float
    further: bool


def incident_for(member: Member, incidents: Iterable[Incident]) -> Incident | None:
    """The incident an alert that has just fired belongs to, the nearest, the latest of those; None: a new one."""
    found = ((_nearest(member, incident), incident) for incident in incidents)
    near = [(nearness, -incident.last, incident.id, incident) for nearness, incident in found if nearness is not None]
    return min(near, key=lambda of: of[:3])[3] if near else None


def _nearest(member: Member, incident: Incident) -> _Nearness | None:
    """How near the nearest alert of an incident is that a new one may belong with; None where there is none."""
    start = incident.starts_at
    found = (_nearness(member, other, start) for other in incident.members.values() if not other.restated)
    return min((nearness for nearness in found if nearness is not None), default=None)


def _nearness(member: Member, other: Member, start: float) -> _Nearness | None:
    """How near an alert is to ``other``, of an incident that began at ``start``; None where they do not belong together."""
    length = max(member.onset_end - member.onset, other.onset_end - other.onset)
    gap = max(member.onset - other.onset_end, other.onset - member.onset_end, 0.0)
    own = member.version == other.version
    nearness = _Nearness(1 if own else 2, gap, member.concern != other.concern)
    if member.same_as(other):
        # The same trouble again: counted from when it was last there.
        gap = min(gap, 0.0 if other.firing else max(member.onset - other.last, 0.0))
        return _Nearness(0, gap, False) if gap <= length else None
    if other.onset - start > REACH * length:
        # Else one thing after another, each close to the one before, would be one incident for ever.
        return None
    if _may_follow(other, member):
        return nearness if gap <= (REACH if own else 1) * length else None
    at_once = member.onset < other.onset_end and other.onset < member.onset_end and other.onset <= start
    together = own or member.concern in (*SHARED, SYSTEM) or at_once
    if (member.concern == other.concern and together) or _may_follow(member, other):
        return nearness if gap <= length else None
    return None


def _may_follow(cause: Member, consequence: Member) -> bool:
    """Whether one alert may be a consequence of the other, which then began no later, is of the same feature if both have
    one, and of the same version unless it is about what comes in."""
    apart = cause.features and consequence.features and not cause.features & consequence.features
    reaches = cause.version == consequence.version or cause.concern in SHARED
    in_order = follows(cause.concern, consequence.concern) and cause.onset < consequence.onset_end
    return in_order and reaches and not apart and not _too_small(cause, consequence)


def _too_small(cause: Member, consequence: Member) -> bool:
    """Whether what is known of a drop of performance says that it cannot follow from the cause."""
    if cause.concern in (FEATURE_DRIFT, SCORE_DRIFT):
        return consequence.explained is not None and consequence.explained < EXPLAINED
    swing = SWING.get(consequence.metric.removeprefix("performance."))
    if cause.concern not in (SCHEMA, VALUES) or not cause.features or consequence.faulty is None or swing is None:
        return False
    share = max(consequence.faulty.get(feature, 0.0) for feature in cause.features)
    value, before = consequence.value, consequence.baseline
    if not isinstance(value, int | float) or before is None:
        return False
    # A number between 0 and 1 has a standard error of at most half of one over the root of what it rests on.
    chance = 1.0 / math.sqrt(max(consequence.sample_size, 1))
    return abs(value - before) > swing * share + chance
