"""What goes wrong in the demo: real storms of 2013, and faults injected into clean days, of the kind everyone has met."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec


class Incident(msgspec.Struct, frozen=True):
    """Something wrong from ``start`` to before ``end`` (Unix seconds). ``injected``: by us; else it really happened.
    ``sees``: the parts of an alert's name, feature or version that would be about it."""

    name: str
    start: float
    end: float
    injected: bool
    sees: tuple[str, ...]


def _day(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _of(name: str, start: str, end: str, injected: bool, *sees: str) -> Incident:
    return Incident(name, _day(start), _day(end), injected, sees)


MISSING = _of("a third of hour missing", "2013-05-06", "2013-05-09", True, "missing-values/hour", "feature-drift/hour")
STRING = _of("distance sent as text", "2013-06-03", "2013-06-05", True, "type-mismatch/distance", "missing-feature")
FEED = _of("label feed stops, catches up", "2013-07-15", "2013-07-17", True, "label-feed")
SWAPPED = _of("labels swapped, corrected 72 h later", "2013-08-19", "2013-08-21", True, "roc-auc", "brier", "accuracy")
OVERCONFIDENT = _of("shadow version is overconfident", "2013-09-09", "2013-10-07", True, ":2")
INJECTED = (MISSING, STRING, FEED, SWAPPED, OVERCONFIDENT)
CORRECTED_AFTER = 72 * 3600.0

REAL = (
    _of("controllers' furlough: late without warning", "2013-04-21", "2013-04-28", False),
    _of("storm of 23 May", "2013-05-22", "2013-05-25", False),
    _of("storm of 13 June", "2013-06-13", "2013-06-14", False),
    _of("storms of 24 to 28 June", "2013-06-24", "2013-06-29", False),
    _of("storms of 1 July", "2013-06-30", "2013-07-02", False),
    _of("storms of 10 July", "2013-07-07", "2013-07-12", False),
    _of("storms of 22 and 23 July", "2013-07-22", "2013-07-24", False),
    _of("storms of 8 and 9 August", "2013-08-08", "2013-08-10", False),
    _of("storm of 12 September", "2013-09-12", "2013-09-13", False),
    _of("weather feed has gaps on 1 July", "2013-07-01", "2013-07-03", False),
    _of("weather feed has gaps on 23 August", "2013-08-23", "2013-08-24", False),
    _of("weather feed has gaps from 23 to 26 October", "2013-10-23", "2013-10-28", False),
    _of("weather feed has gaps on 3 November", "2013-11-03", "2013-11-04", False),
    _of("weather feed ends on 31 December", "2013-12-31", "2014-01-01", False),
    _of("ice and snow of 5 to 10 December", "2013-12-05", "2013-12-11", False),
    _of("snow of 14 to 17 December", "2013-12-14", "2013-12-18", False),
)
"""Days on which the flights themselves went wrong; worked out from the data (share cancelled, share late, weather
that is missing from it)."""

ALL = tuple(sorted((*INJECTED, *REAL), key=lambda incident: incident.start))
