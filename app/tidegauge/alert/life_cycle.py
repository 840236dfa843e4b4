"""The life cycle of an alert: how verdicts, window by window, lead to `firing` and `resolved`, each sent once.

    verdict on window w              not firing                          firing for window f
    breached (first time for w)      fire for w, once w's run of         f = max(f, w)
                                     breached windows is long enough
    breached (again)                 -                                   f = max(f, w)
    fine, w still open               -                                   -
    fine, w closed, w < f            forget w's breach                   forget w's breach
    fine, w closed, w >= f           forget w's breach                   resolve; "restated" if w was breached when closed

With ``keep_firing_for`` = N > 1 windows the last line changes: f becomes the latest window that is still breached. If there is
none, the alert resolves as restated; otherwise it resolves once w is N windows after f. A verdict that the number is back by
the monitor's ``recovery_margin`` counts as one with N = 1.

Thus a restatement that undoes the verdict resolves the alert. A restatement that reveals a breach fires late, for the window it
is about, and the next verdict on that or a later window resolves it.

An alert whose version or segment gets no more requests has no further verdicts: see ``alert/quiet_versions.py``.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec

from tidegauge.metrics.record import Window, iso
from tidegauge.spec import MAX_REMEMBERED

SOURCE = "tidegauge"
SCHEMA = "https://tidegauge.io/schemas/alert.v1.json"
CONTENT_TYPE = (("content-type", b"application/cloudevents+json"),)


class AlertState(msgspec.Struct, array_like=True):
    """One alert as the monitor stage stores it. ``breached``: for each breached window, by its start, whether it was closed;
    ``window``: the start of the latest breached window; ``data``: the data of the event with which it fired."""

    sequence: int = 0
    firing: bool = False
    severity: str = ""
    starts_at: float = 0.0
    window: float = 0.0
    breached: dict[float, bool] = {}
    data: dict[str, Any] = {}


class Transition(msgspec.Struct, frozen=True):
    """A change of an alert's state. ``status``: firing or resolved; ``resolution``: "restated" or None; ``sequence``: the
    number of this transition among the alert's transitions."""

    status: str
    sequence: int
    resolution: str | None = None


def advance(
    state: AlertState, breached: bool, window: Window, closed: bool, severity: str, for_windows: int = 1,
    keep_firing_for: int = 1,
) -> Transition | None:  # fmt: skip
    """Update ``state`` in place by one verdict; return the transition to publish, None if there is none."""
    was = state.breached.get(window.start)
    if breached:
        state.breached[window.start] = closed
        while len(state.breached) > MAX_REMEMBERED:
            del state.breached[min(state.breached)]
        if state.firing:
            state.window = max(state.window, window.start)
            if severity != state.severity:
                state.severity = severity
                return _transition(state, "firing")
            return None
        if was is None and _run(state.breached, window) >= for_windows:
            state.firing, state.severity = True, severity
            state.starts_at = state.window = window.start
            return _transition(state, "firing")
        return None
    if not closed:
        return None
    state.breached.pop(window.start, None)
    if not state.firing or window.start < state.window:
        return None
    if keep_firing_for > 1:
        undone = window.start == state.window
        if undone:
            state.window = max((start for start in state.breached if start <= window.start), default=-math.inf)
        length = window.end - window.start
        if state.window > -math.inf and round((window.start - state.window) / length) < keep_firing_for:
            return None
        was = was if undone else None
    state.firing = False
    return _transition(state, "resolved", "restated" if was else None)


def _transition(state: AlertState, status: str, resolution: str | None = None) -> Transition:
    state.sequence += 1
    return Transition(status, state.sequence, resolution)


def _run(breached: dict[float, bool], window: Window) -> int:
    """The length of the run of consecutive breached windows that contains this window."""
    length = window.end - window.start
    run = 1
    for step in (-length, length):
        start = window.start + step
        while start in breached:
            run += 1
            start += step
    return run


def fingerprint(labels: dict[str, str]) -> str:
    """An identifier computed from an alert's labels: 32 hexadecimal digits.

    >>> fingerprint({"a": "1", "b": "2"}) == fingerprint({"b": "2", "a": "1"})
    True
    """
    text = "\0".join(f"{name}\1{labels[name]}" for name in sorted(labels))
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


def cloud_event(mark: str, transition: Transition, data: dict[str, Any], time: float) -> bytes:
    """The event as CloudEvents 1.0 in structured JSON. ``mark``: the alert's fingerprint; ``time``: the verdict's event
    time."""
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": f"{mark}-{transition.sequence}",
            "source": SOURCE,
            "type": "io.tidegauge.alert.v1",
            "subject": f"{data['labels']['model']}/{data['labels']['model_version']}",
            "time": iso(time),
            "datacontenttype": "application/json",
            "dataschema": SCHEMA,
            "data": data,
        }
    )


def line(event: dict[str, Any]) -> str:
    """An alert as one line for people: its meaning, then the figures."""
    data = event["data"]
    labels = data["labels"]
    where = " ".join(labels[name] for name in ("segment", "feature", "metric") if labels.get(name))
    note = f" ({data['annotations']['resolution']})" if "resolution" in data["annotations"] else ""
    said = (data["annotations"].get(name) for name in ("summary", "description"))
    return (
        f"{event['time'][:19]}  {data['status'].upper():8}{note} {data['severity']:8} {labels['alertname']}"
        f"{' [' + where + ']' if where else ''}  {'  '.join(filter(None, said))}"
    )
