"""An incident in one sentence: what it means to a person, rounded as people round, in at most MOST characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard

from tidegauge.incident.membership import LISTS, Incident, Member
from tidegauge.judge.metric_names import names

MOST = 120
_SHARES = (
    ("data.features.*.missing_ratio", "missing"),
    ("data.features.*.type_mismatch_ratio", "of another type"),
    ("data.features.*.unseen_ratio", "of values never seen before"),
    ("data.features.*.out_of_range_ratio", "out of range"),
)
_ANSWERS = {
    "prediction.type_mismatch_ratio": ("Predictions are", "of the predictions are", "no numbers"),
    "prediction.abstain_ratio": ("Requests have", "of requests have", "no answer"),
    "unreadable_label_ratio": ("Labels are", "of the labels are", "no numbers"),
}
"""Metrics that are shares of answers or labels: what is so, without the share and with it."""
"""Metrics that are shares of requests, and what is so in them."""
_MOVED = (
    ("data.features.*.missing_shift", "missing more often than before"),
    ("data.features.*", "unlike the training data"),
    ("data.segments.*", "another share of the traffic than before"),
    ("attributions.*", "of another weight for the model than before"),
)


def title(incident: Incident) -> str:
    """What the incident's cause means, and since when.

    >>> alert = Member("m", "data.features.age.missing_ratio", "c:1", "", "age", "critical", 86400.0, 172800.0, 0.0, value=0.33)
    >>> title(Incident("i", "c", {"a": alert}))
    '`age` is missing in 33 % of requests since 2 Jan 1970'
    """
    cause = incident.members[incident.cause]
    alike = sorted({name for m in incident.members.values() if _kind(m) == _kind(cause) for name in _names(m)})
    where = f" for {cause.segment}" if cause.segment else ""
    since = f" since {_moment(incident.starts_at)}"
    return _fitted(lambda most: _meaning(cause, _listed(alike, most)) + where + since, len(alike))


def line(event: Mapping[str, Any]) -> str:
    """What has become of an incident, as one line for people."""
    data = event["data"]
    note = f" ({data['resolution']})" if "resolution" in data else ""
    firing = sum(alert["status"] == "firing" for alert in data["alerts"])
    count = f"[{firing} of {len(data['alerts'])} alerts firing: {' → '.join(data['concerns'])}]"
    change = f"{data['change'].upper():8}{note} {data['severity']:8}"
    return f"{event['time'][:19]}  {change} {data['model']}  {data['title']}  {count}"


def percent(share: float) -> str:
    """A share as people say it.

    >>> percent(0.3321), percent(0.0042), percent(0.9999), percent(1.0)
    ('33 %', '0.42 %', '99.99 %', '100 %')
    """
    value = 100 * share
    if value >= 99.5 and value < 100:
        return f"{min(value, 99.99):.2f} %"
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def number(value: float) -> str:
    """A number as people say it: three digits that count.

    >>> number(0.43756), number(1234.5), number(12.0)
    ('0.438', '1,230', '12')
    """
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def _kind(member: Member) -> tuple[str, str]:
    """Alerts of one kind are told together: of one concern, and saying the same of other features."""
    family = next((words for pattern, words in (*_SHARES, *_MOVED) if names(pattern, member.metric)), member.metric)
    return member.concern, "missing" if member.metric == LISTS[0] else family


def _names(member: Member) -> Sequence[str]:
    return member.names or ([member.feature] if member.feature else [])


def _listed(found: Sequence[str], most: int) -> str:
    """Names as a person lists them, the first ``most`` of them.

    >>> _listed(["a", "b", "c"], 3), _listed(["a", "b", "c"], 1)
    ('`a`, `b` and `c`', '`a` and 2 more')
    """
    shown = [f"`{name}`" for name in found[:most]]
    if len(found) > most:
        return f"{', '.join(shown)} and {len(found) - most} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def _fitted(made: Callable[[int], str], count: int) -> str:
    """The sentence with as many names as fit, cut where even one is too long."""
    for most in range(count, 0, -1):
        if len(text := made(most)) <= MOST:
            return text
    text = made(min(count, 1))
    return text if len(text) <= MOST else text[: MOST - 1] + "…"


def _meaning(cause: Member, listed: str) -> str:
    path, value = cause.metric, cause.value if _is_number(cause.value) else None
    be = "are" if " and " in listed else "is"
    if path == LISTS[0]:
        return f"{listed or 'Features'} {be} missing in every request"
    if path == LISTS[1]:
        return f"Requests carry {listed or 'features'} that the training data does not have"
    for pattern, words in _SHARES:
        if names(pattern, path):
            of = "requests" if value is None else "every request" if value >= 0.9999 else f"{percent(value)} of requests"
            return f"{listed or 'A feature'} {be} {words} in {of}"
    for pattern, words in _MOVED:
        if names(pattern, path):
            return f"{listed or 'The population'} {be} {words}"
    if path in _ANSWERS:
        bare, share, words = _ANSWERS[path]
        return f"{bare if value is None else f'{percent(value)} {share}'} {words}"
    if path == "prediction.misread_confidence":
        return "The confidence is the predicted class's, and the spec does not say so"
    if path == "performance.unknown_class_ratio":
        return "Which class is the positive one is not known: the spec names no positive_label"
    if path == "performance.no_probability_ratio":
        return "Scores are no probabilities between 0 and 1"
    if path == "system.error_ratio" and value is not None:
        return f"{percent(value)} of requests fail"
    if path.startswith("label_feed") and value is not None:
        return f"{percent(value)} of the labels that should be in have not come"
    if path.startswith("prediction."):
        return "Scores are unlike those of the training data"
    what = path.split(".", 1)[-1].replace("_", " ") if path.startswith(("performance.", "system.")) else path
    if value is None:
        said = cause.value if isinstance(cause.value, str) and cause.value else "out of its limits"
        return f"{cause.version}: {what} is {said}"
    before = f", {number(cause.baseline)} before" if _is_number(cause.baseline) else ""
    return f"{cause.version}: {what} is {number(value)}{before}"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _moment(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    day = f"{moment.day} {moment:%b %Y}"
    return day if at % 86400 == 0 else f"{moment:%H:%M} UTC on {day}"
