"""The incidents in the demo: real storms and data gaps of 2013, and typical faults that are injected into clean days.

The real ones follow from the data alone (``tests/demo/test_demo.py`` derives them again). A *storm* is a day on which the share
of late flights among those that landed exceeded the model's expectation by at least STORM_SHARE; a *gap* is a day on which at
least GAP_SHARE of the predictions lack the weather. Such days with at most one other day between them are one incident.
The controllers' furlough is the week in which it was in force. Snow that the model had expected (14 to 17 December, 42 % late)
is not an incident, nor are seasons and holidays.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

STORM_SHARE = 0.25
GAP_SHARE = 0.05
STORM = ("brier/", "roc-auc/", "calibration/", "positive-ratio/", "score-drift/", "label-feed/")
GAP = ("missing-feature/", *(f"missing-values/{name} " for name in ("temp", "wind_speed", "visib", "precip")))


class Incident(msgspec.Struct, frozen=True):
    """A fault from ``start`` up to, but without, ``end`` (Unix seconds). ``injected``: whether the demo injects it; otherwise
    it really happened. ``sees``: an alert is about it if its text "name/feature version" contains one of these."""

    name: str
    start: float
    end: float
    injected: bool
    sees: tuple[str, ...]


def _day(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def _of(name: str, start: str, end: str, injected: bool, *sees: str) -> Incident:
    return Incident(name, _day(start), _day(end), injected, sees)


MISSING = _of("a third of hour missing", "2013-05-06", "2013-05-09", True, "missing-values/hour ", "feature-drift/hour ")
STRING = _of("distance sent as text", "2013-06-03", "2013-06-05", True, "type-mismatch/distance ")
FEED = _of("label feed stops, catches up", "2013-07-15", "2013-07-17", True, "label-feed/")
SWAPPED = _of("labels swapped, corrected 72 h later", "2013-08-19", "2013-08-21", True, "roc-auc/", "brier/", "calibration/")
OVERCONFIDENT = _of(
    "shadow version is overconfident", "2013-09-09", "2013-10-07", True, "score-drift/ flight_delays:2", "flight_delays:2"
)
INJECTED = (MISSING, STRING, FEED, SWAPPED, OVERCONFIDENT)
CORRECTED_AFTER = 72 * 3600.0

STORMS = (
    _of("storm of 18 April", "2013-04-18", "2013-04-19", False, *STORM),
    _of("controllers' furlough", "2013-04-21", "2013-04-28", False, *STORM),
    _of("storm of 23 May", "2013-05-23", "2013-05-24", False, *STORM),
    _of("storm of 13 June", "2013-06-13", "2013-06-14", False, *STORM),
    _of("storm of 18 June", "2013-06-18", "2013-06-19", False, *STORM),
    _of("storms of 24 June to 1 July", "2013-06-24", "2013-07-02", False, *STORM),
    _of("storms of 8 to 10 July", "2013-07-08", "2013-07-11", False, *STORM),
    _of("storms of 22 and 23 July", "2013-07-22", "2013-07-24", False, *STORM),
    _of("storm of 28 July", "2013-07-28", "2013-07-29", False, *STORM),
    _of("storms of 8 and 9 August", "2013-08-08", "2013-08-10", False, *STORM),
    _of("storm of 13 August", "2013-08-13", "2013-08-14", False, *STORM),
    _of("storm of 22 August", "2013-08-22", "2013-08-23", False, *STORM),
    _of("storm of 12 September", "2013-09-12", "2013-09-13", False, *STORM),
    _of("snow of 9 and 10 December", "2013-12-09", "2013-12-11", False, *STORM),
)
GAPS = (
    _of("weather feed: gap on 19 August", "2013-08-19", "2013-08-20", False, *GAP),
    _of("weather feed: gaps on 22 and 23 August", "2013-08-22", "2013-08-24", False, *GAP),
    _of("weather feed: gap on 23 October", "2013-10-23", "2013-10-24", False, *GAP),
    _of("weather feed: gap on 26 October", "2013-10-26", "2013-10-27", False, *GAP),
    _of("weather feed: gaps on 3 and 4 November", "2013-11-03", "2013-11-05", False, *GAP),
    _of("weather feed: ends on 31 December", "2013-12-31", "2014-01-01", False, *GAP),
)
ALL = tuple(sorted((*INJECTED, *STORMS, *GAPS), key=lambda incident: incident.start))
