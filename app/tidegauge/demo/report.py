"""The demo's last page: each incident, what found it and when; and the alerts that no incident explains."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tidegauge.demo import incidents
from tidegauge.demo.incidents import Incident
from tidegauge.metrics.record import iso

DAY = 86400.0


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def explains(incident: Incident, event: dict[str, Any]) -> bool:
    """Whether an alert is about an incident: its window overlaps it (a day's label delay allowed for), and it speaks of
    what the incident breaks. A real storm may show in anything of the live version."""
    data = event["data"]
    start = seconds(data["starts_at"])
    if not incident.start - DAY < start < incident.end + (0 if incident.injected else DAY):
        return False
    labels = data["labels"]
    name = f"{labels['alertname']}/{labels.get('feature', '')} {labels['model_version']}"
    if incident.injected:
        return any(part in name for part in incident.sees)
    weather = any(labels.get("feature") == f for f in ("temp", "wind_speed", "visib", "precip"))
    weather = weather or labels["alertname"] == "missing-feature"
    return weather if "weather feed" in incident.name else not labels["model_version"].endswith(":2") and not weather


def table(alerts: list[dict[str, Any]], first: float, last: float) -> str:
    """The table, as text."""
    ended = {(a["data"]["fingerprint"], a["data"]["starts_at"]): a for a in alerts if a["data"]["status"] == "resolved"}
    firing = [a for a in alerts if a["data"]["status"] == "firing"]
    lines = ["", f"{'incident':48} {'began':10}  {'alert':28} {'fired':16}  {'resolved':16}", "-" * 126]
    explained: set[int] = set()
    for incident in incidents.ALL:
        if not first <= incident.start < last - DAY:
            continue
        found = [a for a in firing if explains(incident, a)]
        explained.update(map(id, found))
        mark = "injected: " if incident.injected else "real: "
        head = f"{(mark + incident.name)[:48]:48} {_day(incident.start)}"
        if not found:
            lines.append(f"{head}  {'not found':28}")
        for alert in sorted(found, key=lambda a: str(a["time"])):
            lines.append(f"{head}  {_alert(alert, ended)}")
            head = " " * 59
    rest = [a for a in firing if id(a) not in explained]
    lines += ["", f"{len(rest)} of {len(firing)} alerts without an incident:"]
    for severity in ("critical", "warning"):
        names: dict[str, int] = {}
        for alert in rest:
            if alert["data"]["severity"] == severity:
                name = _name(alert)
                names[name] = names.get(name, 0) + 1
        lines.append(f"  {severity}: " + (", ".join(f"{name} × {count}" for name, count in sorted(names.items())) or "none"))
    return "\n".join(lines)


def _name(alert: dict[str, Any]) -> str:
    labels = alert["data"]["labels"]
    feature = f" {labels['feature']}" if "feature" in labels else ""
    shadow = " (v2)" if labels["model_version"].endswith(":2") else ""
    return f"{labels['alertname']}{feature}{shadow}"


def _alert(alert: dict[str, Any], ended: dict[tuple[str, str], dict[str, Any]]) -> str:
    end = ended.get((alert["data"]["fingerprint"], alert["data"]["starts_at"]))
    restated = " restated" if end and "resolution" in end["data"]["annotations"] else ""
    return f"{_name(alert)[:28]:28} {alert['time'][:16]}  {end['time'][:16] if end else 'still firing':16}{restated}"


def _day(moment: float) -> str:
    return iso(moment)[:10]
