"""Publishes how an open window stands while numbers of it are beyond a limit, for people who look at it before it closes.

Such records have a topic of their own, since readers of the topic ``metrics`` take windows for closed. They hold the numbers by
which the window was judged and no others, so they cost their encoding and nothing more; while nothing is beyond a limit there
are none. When the window closes they are taken back by a record without value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.engine.stage import OPEN_WINDOWS, Output
from tidegauge.metrics.published import published
from tidegauge.metrics.record import iso
from tidegauge.monitor.window_headers import Header, record_key
from tidegauge.monitor.windows import Windows
from tidegauge.spec import ModelSpec


class OpenWindowRecords:
    """The records of the open windows of one monitor task."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def tell(
        self, header: Header, spec: ModelSpec, numbers: Mapping[Segment, Mapping[str, Any]], beyond: Iterable[Segment],
        now: float,
    ) -> list[Output]:  # fmt: skip
        """The records of an open window: of the segments that are ``beyond`` a limit, and of those of which a record was
        published before. Each is published again no sooner than the publish interval. ``numbers``: by segment, by which it was
        judged; ``now``: event time."""
        wait = spec.published_every(header.end - header.start)
        told = (of for of, state in header.records.items() if state.published)
        due = [of for of in dict.fromkeys((*told, *beyond)) if of in numbers and _due(header, of, now, wait)]
        if due:
            self._windows.told(header, due, now)
        return [Output(OPEN_WINDOWS, record_key(header, of), _encode(numbers[of], of, now)) for of in due]

    def take_back(self, header: Header) -> list[Output]:
        """Take the records of a window back that has not been published since it closed."""
        told = (of for of, state in header.records.items() if state.published and not state.revision)
        return [Output(OPEN_WINDOWS, record_key(header, of), None) for of in told]


def _due(header: Header, segment: Segment, now: float, wait: float) -> bool:
    before = header.records[segment].published
    return not before or now >= before + wait


def _encode(numbers: Mapping[str, Any], segment: Segment, now: float) -> bytes:
    return msgspec.json.encode({**published(numbers, segment=bool(segment)), "as_of": iso(now)})
