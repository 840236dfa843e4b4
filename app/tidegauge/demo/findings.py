"""The demo's final table: for each fault which alerts found it and when, unexplained alerts, and a comparison with fixed
rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from tidegauge.demo import incidents
from tidegauge.demo.incidents import Incident
from tidegauge.metrics.record import iso

DAY = 86400.0
PSI_RULE = 0.2
"""A rule of thumb: a population stability index above this is a change that needs action."""


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class Alert(msgspec.Struct):
    """One alert from firing to resolved, regardless of changes of its severity in between."""

    name: str
    severity: str
    window: float
    fired: str
    resolved: str = "still firing"
    figures: str = ""


def alerts_of(events: Iterable[Mapping[str, Any]]) -> list[Alert]:
    """The alerts in the order in which they fired. ``events``: in the order of publication."""
    found: dict[tuple[str, str], Alert] = {}
    for event in events:
        data = event["data"]
        labels, key = data["labels"], (data["fingerprint"], data["starts_at"])
        if data["status"] == "resolved":
            if key in found:
                restated = " restated" if "resolution" in data["annotations"] else ""
                found[key].resolved = event["time"][:16] + restated
                found[key].figures = data["annotations"]["description"]
            continue
        if key not in found:
            name = f"{labels['alertname']}/{labels.get('feature', '')} {labels['model_version']}"
            found[key] = Alert(name, data["severity"], seconds(data["starts_at"]), event["time"][:16])
        if data["severity"] == "critical":
            found[key].severity = "critical"
        found[key].figures = data["annotations"]["description"]
    return sorted(found.values(), key=lambda alert: alert.fired)


def explains(incident: Incident, alert: Alert) -> bool:
    """Whether an incident explains an alert: the alert is about something that the incident breaks, and began during the
    incident or within a day of it. An injected fault explains nothing after its end."""
    after = incident.end if incident.injected else incident.end + DAY
    if not incident.start - DAY <= alert.window < after or not any(part in alert.name for part in incident.sees):
        return False
    shadow = incidents.OVERCONFIDENT
    return incident is shadow or not any(part in alert.name for part in shadow.sees)


def _nearness(incident: Incident, alert: Alert) -> int:
    return next(place for place, part in enumerate(incident.sees) if part in alert.name)


def beside(alert: Alert) -> bool:
    """Whether an alert began within a day of an incident."""
    return any(of.start - DAY <= alert.window < of.end + DAY for of in incidents.ALL)


def covered(first: float, last: float) -> list[Incident]:
    """The incidents in a stream from ``first`` to ``last`` (Unix seconds)."""
    return [of for of in incidents.ALL if first <= of.start and of.end <= last + DAY]


def table(events: Iterable[Mapping[str, Any]], first: float, last: float) -> str:
    """The table as text."""
    alerts = alerts_of(events)
    lines = ["", f"{'incident':50} {'began':10}  {'found by':27} {'in window':10}  {'fired':16}  {'resolved':16}", "-" * 140]
    explained: set[int] = set()
    for incident in covered(first, last):
        about = (alert for alert in alerts if explains(incident, alert))
        found = sorted(about, key=lambda alert: (alert.fired, _nearness(incident, alert)))
        explained.update(map(id, found))
        head = f"{('injected: ' if incident.injected else 'real: ') + incident.name:50.50} {_day(incident.start)}"
        if not found:
            lines.append(f"{head}  not found")
            continue
        more = f"  and {len(found) - 1} more" if len(found) > 1 else ""
        one = found[0]
        lines.append(f"{head}  {_name(one):27} {_day(one.window)}  {one.fired}  {one.resolved}{more}")
    rest = [alert for alert in alerts if id(alert) not in explained]
    critical = [alert for alert in rest if alert.severity == "critical" and not beside(alert)]
    months = max(Counter(alert.fired[:7] for alert in critical).values(), default=0)
    lines.append("")
    lines.append(
        f"{len(alerts)} alerts. Critical ones without an incident within a day: {len(critical)}, at most {months} a month"
    )
    lines += [f"  {alert.fired}  {_name(alert)}" for alert in critical]
    lines += ["Warnings that no incident explains:"]
    lines += [f"  {a.fired} to {a.resolved}  {_name(a):27} {_followed(a)}" for a in rest if a.severity != "critical"]
    return "\n".join(lines)


def fixed_rules(records: Iterable[Mapping[str, Any]], baseline: Mapping[str, Any]) -> str:
    """How two common rules would have performed on the same windows: PSI above 0.2 for any feature or the scores, and accuracy
    more than three binomial standard deviations below the baseline's. ``records``: in the order of publication; ``baseline``:
    the metrics of the baseline. Windows within a day of an incident are left out."""
    newest = {
        record["window_start"]: record
        for record in records
        if not record["segment"] and record["model_version"].endswith(":1") and record["closed"]
    }
    quiet = [
        record
        for start, record in newest.items()
        if not any(of.start - DAY <= seconds(start) < of.end + DAY for of in incidents.ALL)
    ]
    drifts = [
        [of["psi"] > PSI_RULE for of in (*record["data"]["features"].values(), record["prediction"]) if "psi" in of]
        for record in quiet
    ]
    usual = baseline["performance"]["accuracy"]
    low = 0
    for record in quiet:
        labels = record.get("labels", 0)
        if labels and record["performance"]["accuracy"] < usual - 3 * math.sqrt(usual * (1 - usual) / labels):
            low += 1
    months, alarms, days = max(len(quiet) / 30.4, 1.0), sum(map(sum, drifts)), sum(map(any, drifts))
    return (
        f"The usual rules on the {len(quiet)} days without an incident within a day:\n"
        f"  PSI above {PSI_RULE} in any feature or the scores: {alarms} false alarms, {alarms / months:.0f} a month, on {days}"
        " of the days: seasons and weekdays move features every day\n"
        f"  accuracy below {usual:.3f} by more than three standard errors: {low} false alarms, {low / months:.1f} a month:"
        " days differ by more than chance"
    )


def _name(alert: Alert) -> str:
    kind, _, rest = alert.name.partition("/")
    feature, _, version = rest.partition(" ")
    shadow = "(v2)" if version.endswith(":2") else ""
    return " ".join(filter(None, (kind, feature, shadow)))


def _followed(alert: Alert) -> str:
    """What the alert's figures say about performance in addition to drift."""
    _, found, rest = alert.figures.partition("; performance ")
    return f"performance {rest}" if found else ""


def _day(moment: float) -> str:
    return iso(moment)[:10]
