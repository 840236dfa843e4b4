"""Keeps track of the rows of the log that windows have not counted yet, by window and segment, and makes profiles of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import Segment
from tidegauge.monitor.row_log import RowLog, Rows
from tidegauge.profile import data_rows, outcome_table
from tidegauge.profile.data import DataProfile
from tidegauge.profile.grouping import Segments
from tidegauge.profile.outcome import OutcomeGroups, OutcomeProfile
from tidegauge.spec import duration

Side = Literal["data", "outcome"]


class RowShare(NamedTuple):
    """The rows of one part that belong to one segment's profile, by their indices ``numbers`` (k)."""

    rows: Rows
    numbers: NDArray[np.intp]


Shares = list[RowShare]
"""The shares of several parts."""


class WaitingSide(NamedTuple):
    """One side of a window for which rows wait; ``window`` is the window's key in the store."""

    side: Side
    window: bytes


class SegmentData(NamedTuple):
    """The profile of rows with predictions of one segment."""

    segment: Segment
    profile: DataProfile


class SegmentOutcome(NamedTuple):
    """The profile of rows with outcomes of one segment."""

    segment: Segment
    profile: OutcomeProfile


def side_of(rows: Rows) -> Side:
    return "outcome" if rows.data is None else "data"


class SegmentRows(NamedTuple):
    """A segment of a window, and the indices ``rows`` (k) of the rows of a part that lie in it. ``window``: the name of its
    length."""

    segment: Segment
    window: str
    start: float
    rows: NDArray[np.intp]


def places(rows: Rows) -> Iterator[SegmentRows]:
    """All segments of all windows that rows of a part lie in."""
    # The middle of the pane, so that rounding cannot put it into the window before.
    moments = np.floor(rows.times / rows.pane) * rows.pane + rows.pane / 2
    windows = [(name, duration(name), (moments // duration(name)).astype(np.int64)) for name in rows.windows]
    for breakdown in ((), *rows.breakdowns):
        segments = Segments(rows.segments, breakdown)
        for name, length, numbers in windows:
            for segment, window, chosen in segments.groups(rows.codes, numbers):
                yield SegmentRows(segment, name, window * length, chosen)


class WindowRows:
    """The rows that windows of one task have not counted, by window and segment."""

    def __init__(self, log: RowLog) -> None:
        self._log = log
        self._waiting: dict[WaitingSide, dict[Segment, Shares]] = {}

    def add(self, window: bytes, segment: Segment, rows: Rows, numbers: NDArray[np.intp]) -> None:
        rows.waiting += 1
        place = WaitingSide(side_of(rows), window)
        self._waiting.setdefault(place, {}).setdefault(segment, []).append(RowShare(rows, numbers))

    def take(self, side: Side, window: bytes, segments: Iterable[Segment] | None = None) -> dict[Segment, Shares]:
        """Take out the rows that wait for these segments of a window, or for all of its segments."""
        place = WaitingSide(side, window)
        waiting = self._waiting.get(place)
        if waiting is None:
            return {}
        found = {of: waiting.pop(of) for of in list(waiting if segments is None else segments) if of in waiting}
        if not waiting:
            del self._waiting[place]
        for shares in found.values():
            for rows, _ in shares:
                self._log.note_taken(rows)
        return found

    def windows(self) -> list[WaitingSide]:
        """The sides of windows for which rows wait."""
        return list(self._waiting)


def data_profiles(found: Mapping[Segment, Shares]) -> Iterator[SegmentData]:
    """A profile of each segment's rows; several where the rows have several layouts."""
    parts: dict[object, dict[int, Rows]] = {}
    layouts: dict[int, object] = {}
    for shares in found.values():
        for rows, _ in shares:
            if rows.number not in layouts:
                assert rows.data is not None
                layouts[rows.number] = layout = data_rows.layout(rows.data)
                parts.setdefault(layout, {})[rows.number] = rows
    for layout, alike in parts.items():
        columns = data_rows.together([of.data for of in alike.values() if of.data is not None])
        ends = np.cumsum([len(of.times) for of in alike.values()]).tolist()
        places_of = dict(zip(alike, [0, *ends], strict=False))
        own = {of: [share for share in shares if layouts[share.rows.number] == layout] for of, shares in found.items()}
        for some in _by_breakdown({of: shares for of, shares in own.items() if shares}):
            order = np.concatenate([places_of[rows.number] + numbers for shares in some.values() for rows, numbers in shares])
            yield from map(SegmentData, some, columns.group(order, _starts(some), () in some))


def outcome_profiles(found: Mapping[Segment, Shares]) -> Iterator[SegmentOutcome]:
    """A profile of each segment's rows."""
    # A part with late labels covers many windows, each of which takes only few of its rows.
    wanted: dict[int, list[NDArray[np.intp]]] = {}
    parts: dict[int, Rows] = {}
    for shares in found.values():
        for rows, numbers in shares:
            parts[rows.number] = rows
            wanted.setdefault(rows.number, []).append(numbers)
    pieces, places_of, begin = [], {}, 0
    for number, rows in parts.items():
        assert rows.outcome is not None
        chosen = np.zeros(len(rows.outcome), bool)
        for numbers in wanted[number]:
            chosen[numbers] = True
        places_of[number] = begin - 1 + np.cumsum(chosen)
        pieces.append(rows.outcome.take(np.flatnonzero(chosen)))
        begin += len(pieces[-1])
    groups = OutcomeGroups(outcome_table.together(pieces).columns())
    for some in _by_breakdown(found):
        order = np.concatenate([places_of[rows.number][numbers] for shares in some.values() for rows, numbers in shares])
        yield from map(SegmentOutcome, some, groups.group(order, _starts(some)))


def _by_breakdown(found: Mapping[Segment, Shares]) -> list[dict[Segment, Shares]]:
    """The segments of each breakdown apart: within one breakdown, a row lies in one segment only."""
    breakdowns: dict[tuple[str, ...], dict[Segment, Shares]] = {}
    for segment, shares in found.items():
        breakdowns.setdefault(tuple(dimension for dimension, _ in segment), {})[segment] = shares
    return list(breakdowns.values())


def _starts(found: Mapping[Segment, Shares]) -> NDArray[np.intp]:
    """Where each segment's rows begin when the rows of all are put one after the other."""
    sizes = [sum(len(numbers) for _, numbers in shares) for shares in found.values()]
    return np.cumsum([0, *sizes[:-1]])
