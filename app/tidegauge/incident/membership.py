"""Finds the incident that an alert belongs to, and the alert that is the cause of an incident.

An alert joins an incident of its model, whatever its window length and segment, if its concern is related to that of one of the
incident's alerts and it began close in time: at most one window apart or, as a consequence in the same version, at most REACH
windows later, since a drop of performance shows later than its cause. An alert that is about the same thing as an alert of an
incident that is open, or has only just ended, continues that incident however long ago it began. Alerts on the input count for
all versions alike; alerts on the output of different versions join only if they begin an incident together. An alert that was
resolved because late labels undid its verdict attracts no further alerts.

Something too small to have caused a drop of performance is not its cause: values missing in 7 % of a window's requests cannot
change the outcome of all of them, and a shift of the input that leaves the expected performance unchanged explains nothing
(``metrics/explained.py``).
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
"""A consequence begins at most this many windows after its cause."""
EXPLAINED = 0.5
"""A drop of performance is a consequence of a shift of the input only if the shift explains at least this share of it."""
SWING = {"accuracy": 1.0, "brier": 1.0, "ece": 2.0, "roc_auc": 2.0}
"""If a share s of a window's requests changes, a performance metric changes by at most this multiple of s."""


class Member(msgspec.Struct, array_like=True):
    """One alert of an incident and its current state.

    ``onset``, ``onset_end``: start and end of the window with which it began (for a detector the moment of the detection);
    ``last``: when it was last present, which is its end once it has resolved; ``value``, ``baseline``: as of its beginning;
    ``names``: the features that are missing or unexpected; ``affected``: how many requests of a window that was still open were
    affected; ``kind``: the kind of alert; ``explained``: the share of the drop that the shift of the input explains, and
    ``faulty``: by feature, the share of the window's requests with a faulty value, both None if unknown; ``sample_size``: the
    number of values that ``value`` rests on; ``sources``: the sources of its features; ``carrier``: what carries a drop of
    performance first of all, as in the alert's evidence, None if nothing is known to.
    """

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
    carrier: dict[str, Any] | None = None

    @property
    def concern(self) -> str:
        return concern_of(self.metric)

    @property
    def features(self) -> set[str]:
        """The features that the alert is about; empty if it is about the model as a whole."""
        return set(self.names) or {self.feature} - {""}

    def same_as(self, other: Member) -> bool:
        """Whether both alerts are about the same thing. For alerts on the input the version does not matter. The mix of labels,
        which may have moved for weeks, is not the same thing as how well labels are predicted."""
        group = self.metric.partition(".")[0] == other.metric.partition(".")[0]
        version = self.concern in SHARED or self.version == other.version
        named = not (self.names or other.names) or bool(self.features & other.features)
        return version and group and self.concern == other.concern and self.feature == other.feature and named


class Incident(msgspec.Struct, array_like=True):
    """One incident. ``members``: its alerts by fingerprint; ``sequence``: how many events of it were published; ``title``: the
    title in the last event; ``last``: event time of its last change."""

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
        """The highest severity among its firing alerts, or among all of them if none fires."""
        among = [m for m in self.members.values() if m.firing] or list(self.members.values())
        return "critical" if any(m.severity == "critical" for m in among) else among[0].severity

    @property
    def cause(self) -> str:
        """Fingerprint of the alert that may have caused the others: among those that began with the first window, the earliest
        in the causal order, and among these the most severe."""
        start = self.starts_at
        first = {mark: m for mark, m in self.members.items() if m.onset - start <= m.onset_end - m.onset} or self.members
        return min(first, key=lambda mark: (*_rank(first[mark]), mark))

    @property
    def alike(self) -> list[Member]:
        """The alerts that are described together with the cause: they have its concern and say the same of other features."""
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
    """A member made from an alert's ``data``."""
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
        alert["evidence"].get("sources", []), next(iter(alert["evidence"].get("carriers", ())), None),
    )  # fmt: skip


class _Nearness(NamedTuple):
    """How near an alert of an incident is to a new alert; the smallest value is the nearest. ``relation``: 0 for the same
    problem, 1 for the same version, 2 for another version; ``gap``: seconds between the two; ``further``: whether the concerns
    differ."""

    relation: int
    gap: float
    further: bool


def incident_for(member: Member, incidents: Iterable[Incident]) -> Incident | None:
    """The incident that an alert which has just fired belongs to: the nearest one, the latest of equally near ones. None if it
    begins a new incident."""
    found = ((_nearest(member, incident), incident) for incident in incidents)
    near = [(nearness, -incident.last, incident.id, incident) for nearness, incident in found if nearness is not None]
    return min(near, key=lambda of: of[:3])[3] if near else None


def _nearest(member: Member, incident: Incident) -> _Nearness | None:
    """The nearness of the nearest alert of an incident that a new alert may belong with; None if there is none."""
    start = incident.starts_at
    found = (_nearness(member, other, start) for other in incident.members.values() if not other.restated)
    return min((nearness for nearness in found if nearness is not None), default=None)


def _nearness(member: Member, other: Member, start: float) -> _Nearness | None:
    """How near an alert is to ``other``, a member of an incident that began at ``start``; None if they do not belong
    together."""
    length = max(member.onset_end - member.onset, other.onset_end - other.onset)
    gap = max(member.onset - other.onset_end, other.onset - member.onset_end, 0.0)
    own = member.version == other.version
    nearness = _Nearness(1 if own else 2, gap, member.concern != other.concern)
    if member.same_as(other):
        # The same problem again: the gap counts from when it was last present.
        gap = min(gap, 0.0 if other.firing else max(member.onset - other.last, 0.0))
        return _Nearness(0, gap, False) if gap <= length else None
    if other.onset - start > REACH * length:
        # Without this bound a sequence of problems, each close to the one before, would be one endless incident.
        return None
    if _may_follow(other, member):
        return nearness if gap <= (REACH if own else 1) * length else None
    at_once = member.onset < other.onset_end and other.onset < member.onset_end and other.onset <= start
    together = own or member.concern in (*SHARED, SYSTEM) or at_once
    if (member.concern == other.concern and together) or _may_follow(member, other):
        return nearness if gap <= length else None
    return None


def _may_follow(cause: Member, consequence: Member) -> bool:
    """Whether one alert may be a consequence of the other: the cause must have begun no later, be about the same feature if
    both are about features, and about the same version unless it is about the input."""
    apart = cause.features and consequence.features and not cause.features & consequence.features
    reaches = cause.version == consequence.version or cause.concern in SHARED
    in_order = follows(cause.concern, consequence.concern) and cause.onset < consequence.onset_end
    return in_order and reaches and not apart and not _too_small(cause, consequence)


def _too_small(cause: Member, consequence: Member) -> bool:
    """Whether a cause is too small for the drop of performance that ``consequence`` reports."""
    if cause.concern in (FEATURE_DRIFT, SCORE_DRIFT):
        return consequence.explained is not None and consequence.explained < EXPLAINED
    swing = SWING.get(consequence.metric.removeprefix("performance."))
    if cause.concern not in (SCHEMA, VALUES) or not cause.features or consequence.faulty is None or swing is None:
        return False
    share = max(consequence.faulty.get(feature, 0.0) for feature in cause.features)
    value, before = consequence.value, consequence.baseline
    if not isinstance(value, int | float) or before is None:
        return False
    # The mean of n values between 0 and 1 has a standard error of at most 0.5 / sqrt(n); this is two of them.
    chance = 1.0 / math.sqrt(max(consequence.sample_size, 1))
    return abs(value - before) > swing * share + chance
