"""The periods of reports: any span of time, or days or ISO weeks in UTC."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal

import msgspec

from tidegauge.errors import ReportError
from tidegauge.metrics.record import iso

Every = Literal["day", "week"]
DAY = 86400.0
LENGTHS: dict[Every, float] = {"day": DAY, "week": 7 * DAY}
FIRST_MONDAY = 4 * DAY
"""Monday, 5 January 1970."""


class Period(msgspec.Struct, frozen=True):
    """The time from ``start`` up to, but without, ``end`` (Unix seconds)."""

    start: float
    end: float

    @property
    def previous(self) -> Period:
        """The period of the same length that ends where this one begins."""
        return Period(2 * self.start - self.end, self.start)

    @property
    def name(self) -> str:
        """The period in file names: its first day, followed by its last day if there are several.

        >>> Period(0.0, 86400.0).name, Period(345600.0, 950400.0).name
        ('1970-01-01', '1970-01-05_1970-01-11')
        """
        first, last = iso(self.start)[:10], iso(self.end - 1)[:10]
        return first if first == last else f"{first}_{last}"


def moment(text: str) -> float:
    """Unix seconds of a date (its midnight in UTC) or of RFC 3339 text.

    >>> moment("1970-01-02"), moment("1970-01-02T00:00:00+01:00")
    (86400.0, 82800.0)

    Raises ReportError.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ReportError(f"{text!r} is neither a date (2025-09-27) nor RFC 3339 (2025-09-27T06:00:00Z)") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def periods(start: float | None, end: float | None, every: Every | None, now: float) -> Iterator[Period]:
    """The periods to report on: from ``start`` to ``end``, undivided or divided into whole days or weeks; without ``start`` and
    ``end`` the last day or week that was over at ``now`` (all Unix seconds). Raises ReportError if there is no such period."""
    if every is None:
        if start is None or end is None or start >= end:
            raise ReportError("say --from and a later --to, or --every day or week")
        yield Period(start, end)
        return
    length, offset = LENGTHS[every], FIRST_MONDAY if every == "week" else 0.0
    last = (((now if end is None else end) - offset) // length) * length + offset
    first = last - length if start is None else -((offset - start) // length) * length + offset
    if first >= last:
        raise ReportError(f"no whole {every} lies between {iso(first if start is None else start)} and {iso(end or now)}")
    while first < last:
        yield Period(first, first + length)
        first += length
