"""Puts an incident into one sentence: what its cause means for people, and since when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegauge.incident.membership import Incident, Member
from tidegauge.judge.evidence import carrier_name
from tidegauge.judge.meaning import Symptom, sentence
from tidegauge.judge.wording import is_number, percent, shortened
from tidegauge.metrics.carriers import Carrier

_MOST = 70
"""The most characters of the name of a segment or range, so that the sentence with it has at most ``wording.MOST``."""


def title(incident: Incident, now: float) -> str:
    """What the incident's cause means, and since when, as of event time ``now``.

    >>> alert = Member("m", "data.features.age.missing_ratio", "c:1", "", "age", "critical", 86400.0, 172800.0, 0.0, value=0.33)
    >>> title(Incident("i", "c", {"a": alert}), 172800.0)
    '`age` is missing in 33 % of requests since 2 Jan 1970'
    """
    cause = incident.members[incident.cause]
    features = {name for member in incident.alike for name in member.features}
    # The count of an open window is soon outdated.
    affected = cause.affected if cause.firing and now < cause.onset_end else 0
    return sentence(_symptom(cause, affected), sorted(features), incident.starts_at)


def carried_by(incident: Incident) -> dict[str, Any] | None:
    """The segment, or the range of a feature, that carries the first drop of performance among the incident's alerts: the
    alert's fingerprint, ``segment`` and ``share`` as in its evidence, and a ``text``. None if none is known.

    >>> found = {"segment": {"age": "45 or more"}, "excess": 0.2, "elsewhere": 0.0, "share": 0.64, "labels": 90, "p_value": 0.0}
    >>> alert = Member("m", "performance.brier", "c:1", "", "", "critical", 0.0, 9.0, 0.0, carrier=found | {"feature": "age"})
    >>> carried_by(Incident("i", "c", {"a": alert}))["text"]
    'carried by requests with `age` of 45 or more: 64 % of the drop'
    """
    for mark, member in incident.in_causal_order.items():
        if member.carrier is not None:
            of = Carrier(**member.carrier)
            text = f"carried by requests with {shortened(carrier_name(of), _MOST)}: {percent(of.share)} of the drop"
            return {"fingerprint": mark, "segment": of.segment, "share": of.share, "text": text}
    return None


def _symptom(cause: Member, affected: int) -> Symptom:
    value = cause.value if is_number(cause.value) else None
    return Symptom(cause.metric, cause.version, cause.segment, value, cause.baseline, affected, cause.kind)


def line(event: Mapping[str, Any]) -> str:
    """An incident event as one line for people."""
    data = event["data"]
    by = f"; {data['carried_by']['text']}" if "carried_by" in data else ""
    note = f" ({data['resolution']})" if "resolution" in data else ""
    firing = sum(alert["status"] == "firing" for alert in data["alerts"])
    count = f"[{firing} of {len(data['alerts'])} alerts firing: {' → '.join(data['concerns'])}]"
    change = f"{data['change'].upper():8}{note} {data['severity']:8}"
    return f"{event['time'][:19]}  {change} {data['model']}  {data['title']}{by}  {count}"
