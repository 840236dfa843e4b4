"""The four concerns that alerts are about, and how each of them was over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from tidegauge.engine.events import timestamp

CONCERNS = ("data", "model", "system", "business")
_CONCERN_OF = {
    "data": "data", "prediction": "data", "missing_features": "data",
    "performance": "model", "estimated": "model", "fairness": "model", "attributions": "model", "calibration": "model",
    "label_feed": "model", "coverage": "model", "labels": "model", "label_delay_seconds": "model",
    "error": "model", "abs_error": "model", "score": "data", "latency_ms": "system",
    "system": "system", "predictions": "system", "business": "business",
}  # fmt: skip
RANK = {"info": 1, "warning": 2, "critical": 3}


class Span(NamedTuple):
    """The time during which something of a concern was wrong. ``until``: None if it still is."""

    concern: str
    severity: str
    since: str
    until: str | None


def concern_of(metric: str) -> str:
    """The one of the four concerns that a metric path or a detector's stream is about.

    >>> concern_of("data.features.age.psi"), concern_of("label_feed.coverage_gap"), concern_of("business.converted.mean")
    ('data', 'model', 'business')
    """
    return _CONCERN_OF.get(metric.split(".", 1)[0], "model")


def worst_between(spans: Iterable[Span], edges: Sequence[str]) -> list[str | None]:
    """The highest severity of the spans between each two successive ``edges``; None where there is none.

    >>> span = Span("data", "critical", "2025-09-27T06:00:00Z", "2025-09-27T07:00:00Z")
    >>> worst_between([span], ["2025-09-27T00:00:00Z", "2025-09-27T06:00:00Z", "2025-09-27T12:00:00Z"])
    [None, 'critical']
    """
    lasted = [(timestamp(of.since), None if of.until is None else timestamp(of.until), of.severity) for of in spans]
    found: list[str | None] = []
    for begin, end in pairwise(map(timestamp, edges)):
        there = [severity for since, until, severity in lasted if since < end and (until is None or until > begin)]
        found.append(max(there, key=lambda severity: RANK.get(severity, 0), default=None))
    return found
