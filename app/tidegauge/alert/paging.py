"""Turns alert events into notices for Alertmanager, and keeps track of which alerts are firing.

``PagedAlerts`` takes events and returns notices, and can be rebuilt from the topic ``alerts``. It knows no Kafka, HTTP or
clock.

    event                            notice to Alertmanager
    firing                           firing
    firing, of another severity      firing under the new labels, then resolved under the old
    resolved                         firing once more (Alertmanager may have restarted and forgotten), then resolved
    (time passes)                    ``refresh``: firing again, and what resolved within ``RESOLVED_SECONDS`` resolved again

None of this pages people twice: Alertmanager notifies them when a label set begins to fire, not whenever it receives it.
Alertmanager does not pass on that an alert resolved while it was silenced, and then forgets it. The notice is therefore
repeated until the silence has ended, so that whoever was paged before learns that the alert is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from tidegauge.judge.wording import percent
from tidegauge.metrics.record import iso
from tidegauge.spec import segment_name

RESOLVED_SECONDS = 900.0
"""For how long the notice that an alert has resolved is repeated: Alertmanager may restart before it has passed it on."""
MAX_NOTICES = 500
"""The most notices in one request."""

LINEAGE = {"run_id": "run", "url": "run_url"}
"""What pages call where a version came from, if not as the event does."""


class AlertData(msgspec.Struct, frozen=True):
    """Those members of an alert event's ``data`` that pages need."""

    status: Literal["firing", "resolved"]
    fingerprint: str
    severity: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    metric: str = ""
    condition: str = ""
    value: Any = None
    baseline: Any = None
    sample_size: Any = None
    p_value: Any = None
    window: Any = None
    evidence: dict[str, Any] = {}
    incident: str = ""
    lineage: dict[str, str] = {}


class AlertEvent(msgspec.Struct, frozen=True):
    """An alert event, as far as pages need it."""

    data: AlertData


decode = msgspec.json.Decoder(AlertEvent).decode
"""Decodes an alert event; raises ``msgspec.MsgspecError``."""


class Notice(msgspec.Struct, frozen=True):
    """What Alertmanager is told about one alert. ``starts_at``, ``ends_at``: Unix seconds; ``ends_at`` None while it fires."""

    fingerprint: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: float
    ends_at: float | None = None

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """The sorted labels, by which Alertmanager identifies an alert."""
        return tuple(sorted(self.labels.items()))


SilencedSince = Callable[[Mapping[str, str], float, float, float], float]
"""As ``Operations.silenced_since``."""


class PagedAlerts:
    """The alerts that are firing, and those that resolved recently or under a silence that ended recently."""

    def __init__(self, silenced_since: SilencedSince) -> None:
        self.firing: dict[str, Notice] = {}
        self._silenced_since = silenced_since
        self._resolved: dict[tuple[tuple[str, str], ...], tuple[Notice, float]] = {}
        """Notices of resolved alerts by key, and the time (Unix seconds) from which Alertmanager may pass each on."""

    def take(self, event: AlertEvent, now: float, *, again: bool = True) -> list[Notice]:
        """The notices that follow from an event, in order. ``now``: the event's time in Unix seconds; ``again`` False leaves
        out the notice "firing once more" of an alert that resolves."""
        data = event.data
        notice = _notice(data)
        held = self.firing.pop(data.fingerprint, None)
        if data.status == "firing":
            self.firing[data.fingerprint] = notice
            self._resolved.pop(notice.key, None)
            said = [notice]
            if held is not None and held.key != notice.key:
                said.append(self._resolve(held, now))
            return said
        if held is None:
            return [self._resolve(notice, now)]
        resolved = self._resolve(msgspec.structs.replace(held, annotations=notice.annotations), now)
        return [held, resolved] if again else [resolved]

    def refresh(self, now: float) -> list[Notice]:
        """All notices that hold at ``now`` (Unix seconds). Sent regularly, they restore whatever Alertmanager has forgotten."""
        held, self._resolved = self._resolved, {}
        for key, (notice, since) in held.items():
            since = self._silenced_since(notice.labels, since, now, RESOLVED_SECONDS)
            if now - since <= RESOLVED_SECONDS:
                self._resolved[key] = notice, since
        return [*self.firing.values(), *(notice for notice, _ in self._resolved.values())]

    def _resolve(self, notice: Notice, now: float) -> Notice:
        notice = msgspec.structs.replace(notice, ends_at=now)
        self._resolved[notice.key] = notice, now
        return notice


def requests(notices: Iterable[Notice]) -> Iterator[list[Notice]]:
    """Divide notices, in order, into as few requests as possible such that no request has a label set twice.

    >>> a, b = (Notice(name, {"alertname": name}, {}, 0.0) for name in "ab")
    >>> [[notice.fingerprint for notice in request] for request in requests([a, b, a])]
    [['a', 'b'], ['a']]
    """
    request: dict[tuple[tuple[str, str], ...], Notice] = {}
    for notice in notices:
        if notice.key in request or len(request) == MAX_NOTICES:
            yield list(request.values())
            request = {}
        request[notice.key] = notice
    if request:
        yield list(request.values())


def posted(notice: Notice, now: float, lasting: float, console: str | None) -> dict[str, Any]:
    """An alert as a body for Alertmanager's API v2. A firing alert expires ``lasting`` seconds after ``now`` unless it is sent
    again. ``console``: the address of the console, to which the alert links; None without one."""
    ends = now + lasting if notice.ends_at is None else notice.ends_at
    alert: dict[str, Any] = {
        "labels": notice.labels,
        "annotations": notice.annotations,
        # Event time may run ahead of the wall clock, but nothing ends before it starts.
        "startsAt": iso(min(notice.starts_at, now, ends)),
        "endsAt": iso(ends),
    }
    if console is not None:
        alert["generatorURL"] = f"{console.rstrip('/')}/#/alerts/{notice.fingerprint}"
    return alert


def _notice(data: AlertData) -> Notice:
    # Alertmanager groups by the incident, so that people get one page for it, which grows.
    named = data.labels | {"severity": data.severity, "incident": data.incident}
    labels = {name: value for name, value in named.items() if value}
    return Notice(data.fingerprint, labels, texts_of(data), data.starts_at.timestamp())


def texts_of(data: AlertData) -> dict[str, str]:
    """The texts shown to people, by name: the event's annotations, the numbers behind them, and its evidence line by line."""
    texts = {name: text for name, text in data.annotations.items() if text}
    before = f" (baseline {_number(data.baseline)})" if _said(data.baseline) else ""
    for name, text in (
        ("condition", f"{data.metric} {data.condition}".strip()),
        ("value", _number(data.value) + before if _said(data.value) else ""),
        ("sample_size", str(data.sample_size) if _said(data.sample_size) else ""),
        ("p_value", _number(data.p_value) if _said(data.p_value) else ""),
    ):
        if text:
            texts[name] = text
    texts |= {LINEAGE.get(name, name): text for name, text in data.lineage.items() if text}
    shown: list[tuple[str, Any, Callable[[Any], list[str]]]] = [("window", data.window, _window)]
    shown += [(name, value, _LINES.get(name, _plain)) for name, value in data.evidence.items()]
    for name, value, lines in shown:
        try:
            found = lines(value) if value else []
        except (KeyError, TypeError, ValueError, AttributeError):
            # Evidence of an unknown shape is shown as it is, so that no alert is lost because of it.
            found = [msgspec.json.encode(value).decode()]
        if text := "\n".join(line for line in found if line):
            texts[name] = text
    return texts


def _said(value: Any) -> bool:
    """Whether a value is neither missing nor empty."""
    return value is not None and value != ""


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _window(window: dict[str, Any]) -> list[str]:
    parts = (("", "length"), ("from ", "start"), ("to ", "end"))
    span = " ".join(f"{word}{window[name]}" for word, name in parts if _said(window.get(name)))
    revision = f"revision {window['revision']}" if _said(window.get("revision")) else ""
    return [", ".join(part for part in (span, revision) if part)]


def _plain(found: Any) -> list[str]:
    return [item if isinstance(item, str) else msgspec.json.encode(item).decode() for item in found if item]


def _segments(found: list[dict[str, Any]]) -> list[str]:
    named = ((entry, {d: of for d, of in (entry["segment"] or {}).items() if _said(of)}) for entry in found if entry)
    return [_line(segment_name(segment), _facts(entry, (("value", "{}"),)) + _share(entry)) for entry, segment in named]


def _share(entry: dict[str, Any]) -> list[str]:
    return [f"{entry['share']:.0%} of the change"] if _said(entry.get("share")) else []


def _features(found: list[dict[str, Any]]) -> list[str]:
    facts = (("psi", "PSI {}"), ("p_value", "p {}"), ("effect", "{} standard deviations from usual"))
    return [_line(entry["feature"], _facts(entry, facts)) for entry in found if entry]


def _facts(entry: dict[str, Any], texts: Iterable[tuple[str, str]]) -> list[str]:
    return [text.format(_number(entry[member])) for member, text in texts if _said(entry.get(member))]


def _line(name: str | None, facts: list[str]) -> str:
    """``name: facts`` as one line; only the facts if there is no name."""
    return f"{name}: {', '.join(facts)}" if name and facts else name or ""


def _performance(found: dict[str, Any]) -> list[str]:
    values = [
        f"{path.removeprefix('performance.')} {_number(value)}"
        for path, value in (found.get("values") or {}).items() if _said(value)
    ]  # fmt: skip
    when = f" in the window from {found['window_start']}" if found.get("window_start") else ""
    breached = [name for name in found.get("breached") or () if name]
    return [f"{', '.join(values)}{when}"] * bool(values) + [f"breached: {', '.join(breached)}"] * bool(breached)


def _explained(found: dict[str, Any]) -> list[str]:
    if not _said(found.get("share")):
        return []
    expected = f" ({_number(found['expected'])} was expected)" if _said(found.get("expected")) else ""
    return [f"{percent(found['share'])} by the shift of the inputs{expected}"]


def _carriers(found: list[dict[str, Any]]) -> list[str]:
    facts = (("excess", "loss rose by {}"), ("elsewhere", "by {} elsewhere"))
    return [_line(segment_name(entry["segment"]), _facts(entry, facts)) for entry in found if entry and entry["segment"]]


def _faulty(found: dict[str, Any]) -> list[str]:
    return [f"{name}: {percent(share)} of requests" for name, share in found.items() if name and _said(share)]


_LINES: dict[str, Callable[[Any], list[str]]] = {
    "segments": _segments,
    "features": _features,
    "performance": _performance,
    "explained": _explained,
    "carriers": _carriers,
    "faulty_values": _faulty,
}
