"""Keeps track of the rows of the log that windows have not counted yet, by window and segment, and makes profiles of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import Segment
from tidegauge.monitor.row_log import RowLog, Rows
from tidegauge.profile import data_rows, outcome_table
from tidegauge.profile.data import DataProfile
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.spec import duration

Side = Literal["data", "outcome"]
MAX_TOGETHER = 4 << 20
"""The most bytes of rows with predictions that are counted together: meanwhile they are in memory several times."""


class RowShare(NamedTuple):
    """The rows of one part that belong to one window, by their indices ``numbers`` (k)."""

    rows: Rows
    numbers: NDArray[np.intp]

    @property
    def part(self) -> int:
        """The number of the part."""
        return self.rows.number


class WaitingSide(NamedTuple):
    """One side of a window for which rows wait; ``window`` is the window's key in the store."""

    side: Side
    window: bytes


class Waiting(NamedTuple):
    """The rows that wait for one side of a window. ``shares``: ordered by their part; ``since``: by the number of each segment
    that has not counted all its rows, the first part whose rows it has not counted."""

    shares: list[RowShare]
    since: dict[int, int]


class SegmentData(NamedTuple):
    """The profile of rows with predictions of one segment."""

    segment: Segment
    profile: DataProfile


def side_of(rows: Rows) -> Side:
    return "outcome" if rows.data is None else "data"


class WindowShare(NamedTuple):
    """A window, and the indices ``rows`` (k) of the rows of a part that lie in it. ``window``: the name of its length."""

    window: str
    start: float
    rows: NDArray[np.intp]


def window_shares(rows: Rows) -> Iterator[WindowShare]:
    """All windows that rows of a part lie in."""
    # The middle of the pane, so that rounding cannot put it into the window before.
    moments = np.floor(rows.times / rows.pane) * rows.pane + rows.pane / 2
    for name in rows.windows:
        length = duration(name)
        windows = (moments // length).tolist()
        first = windows[0]
        if windows.count(first) == len(windows):
            yield WindowShare(name, first * length, np.arange(len(windows)))
            continue
        rows_of: dict[float, list[int]] = {}
        for row, window in enumerate(windows):
            rows_of.setdefault(window, []).append(row)
        for window in sorted(rows_of):
            yield WindowShare(name, window * length, np.array(rows_of[window]))


class WindowRows:
    """The rows that windows of one task have not counted, by window and segment."""

    def __init__(self, log: RowLog) -> None:
        self._log = log
        self._waiting: dict[WaitingSide, Waiting] = {}

    def add(self, window: bytes, share: RowShare, segments: Iterable[int]) -> set[int]:
        """Let rows of a part, which must be newer than all that wait, wait for these segments of a window. Returns those of
        them for which no others waited."""
        place = WaitingSide(side_of(share.rows), window)
        waiting = self._waiting.get(place)
        if waiting is None:
            waiting = self._waiting[place] = Waiting([], {})
        share.rows.waiting += 1
        waiting.shares.append(share)
        new = set(segments).difference(waiting.since)
        waiting.since.update(dict.fromkeys(new, share.part))
        return new

    def take(self, side: Side, window: bytes, segments: Iterable[Segment] | None = None) -> UncountedShares:
        """Take out the rows that wait for these segments of a window, or for all of its segments."""
        place = WaitingSide(side, window)
        waiting = self._waiting.get(place)
        if waiting is None:
            return UncountedShares([], {})
        shares, since = waiting
        names = shares[0].rows.names
        asked = None if segments is None else set(segments)
        wanted = {of: part for of, part in since.items() if asked is None or names[of] in asked}
        if not wanted:
            return UncountedShares([], {})
        found = shares[bisect_left(shares, min(wanted.values()), key=attrgetter("part")) :]
        for of in wanted:
            del since[of]
        taken = bisect_left(shares, min(since.values()), key=attrgetter("part")) if since else len(shares)
        for rows, _ in shares[:taken]:
            self._log.note_taken(rows)
        del shares[:taken]
        if not since:
            del self._waiting[place]
        return UncountedShares(found, wanted)

    def growth(self, window: bytes) -> Growth:
        """What counting the rows with predictions that wait for a window adds to its segments' profiles."""
        waiting = self._waiting.get(WaitingSide("data", window))
        if waiting is None:
            return Growth(frozenset(), 0)
        rows = waiting.shares[0].rows
        assert rows.data is not None
        numbers = len(rows.data.features.names)
        return Growth(frozenset(rows.names[of] for of in waiting.since), numbers * rows.times.itemsize)

    def places(self) -> Iterator[WaitingSegment]:
        """Every side of a segment of a window for which rows wait."""
        for (side, window), (shares, since) in self._waiting.items():
            names = shares[0].rows.names
            for segment, part in since.items():
                yield WaitingSegment(side, window, names[segment], part)


class Growth(NamedTuple):
    """The ``segments`` of a window for which rows wait, and how many bytes the numbers of a row take."""

    segments: frozenset[Segment]
    row_bytes: int


class WaitingSegment(NamedTuple):
    """One side of a segment of a window for which rows wait, the oldest of them in the part ``since``. ``window``: the window's
    key in the store."""

    side: Side
    window: bytes
    segment: Segment
    since: int


class UncountedShares(NamedTuple):
    """Shares of several parts of one model, ordered by part, and ``since``: as in ``Waiting``, for the segments whose profiles
    are to be made."""

    shares: list[RowShare]
    since: Mapping[int, int]


def whole_parts(parts: Sequence[Rows]) -> UncountedShares:
    """All rows of all segments of some parts, at least one."""
    shares = [RowShare(rows, np.arange(len(rows.times))) for rows in parts]
    return UncountedShares(shares, dict.fromkeys(range(len(parts[0].names)), 0))


class SegmentRuns(NamedTuple):
    """Rows of one breakdown in runs, one for each of G ``segments``: the indices ``order`` (m) of the rows among all that are
    counted together, and where in it each run begins, ``starts`` (G)."""

    segments: list[Segment]
    order: NDArray[np.intp]
    starts: NDArray[np.intp]


SPARSE = 8
"""Of a part of outcomes that has more than this many times as many rows as a share of it, only the share's are copied: labels
that come all at once have a few rows of each of a thousand windows."""


class _Gathered(NamedTuple):
    """Some shares of alike parts, whose rows are counted together. ``cut``: whether only the rows of a share itself are laid
    beside the others, not of its whole part; ``places`` (m): the indices of the rows among those; ``segments`` (B, m): as in
    ``Rows``."""

    shares: list[RowShare]
    cut: list[bool]
    places: NDArray[np.intp]
    segments: NDArray[np.int32]


def _gathered(shares: list[RowShare]) -> _Gathered:
    cut = [of.rows.outcome is not None and SPARSE * len(of.numbers) < len(of.rows.times) for of in shares]
    pairs = list(zip(shares, cut, strict=True))
    begins = np.cumsum([0, *(len(of.numbers if alone else of.rows.times) for of, alone in pairs[:-1])])
    numbers = np.concatenate([np.arange(len(of.numbers)) if alone else of.numbers for of, alone in pairs])
    places = numbers + np.repeat(begins, [len(of.numbers) for of in shares])
    beside = [of.rows.segments[:, of.numbers] if alone else of.rows.segments for of, alone in pairs]
    return _Gathered(shares, cut, places, np.concatenate(beside, axis=1)[:, places])


def data_profiles(found: UncountedShares) -> Iterator[SegmentData]:
    """A profile of each segment's rows; several where the rows have several layouts, or are many."""
    alike: dict[object, list[RowShare]] = {}
    for share in found.shares:
        assert share.rows.data is not None
        alike.setdefault((share.rows.breakdowns, data_rows.layout(share.rows.data)), []).append(share)
    for gathered in map(_gathered, chain.from_iterable(map(_pieces, alike.values()))):
        columns = data_rows.together([of.rows.data for of in gathered.shares if of.rows.data is not None])
        for segments, order, starts in _runs(gathered, found.since):
            yield from map(SegmentData, segments, columns.group(gathered.places[order], starts, () in segments))


def _pieces(shares: list[RowShare]) -> Iterator[list[RowShare]]:
    """The shares in pieces of about MAX_TOGETHER bytes at most."""
    piece: list[RowShare] = []
    size = 0
    for share in shares:
        size += share.rows.size
        if size > MAX_TOGETHER and piece:
            yield piece
            piece, size = [], share.rows.size
        piece.append(share)
    yield piece


def count_outcomes(found: UncountedShares, profile_of: Callable[[Segment], OutcomeProfile]) -> None:
    """Add the rows to the profiles of their segments: together those that have the same breakdowns, and codes of the same
    ranges."""
    alike: dict[object, list[RowShare]] = {}
    for share in found.shares:
        codes = None if share.rows.outcome is None else share.rows.outcome.codes
        alike.setdefault((share.rows.breakdowns, None if codes is None else codes.ranges), []).append(share)
    for gathered in map(_gathered, alike.values()):
        runs = _runs(gathered, found.since)
        if not runs:
            continue
        counted = np.zeros(len(gathered.places), bool)
        for of in runs:
            counted[of.order] = True
        whole = outcome_table.together([
            of.rows.outcome.take(of.numbers) if alone else of.rows.outcome
            for of, alone in zip(gathered.shares, gathered.cut, strict=True)
            if of.rows.outcome is not None
        ])  # fmt: skip
        places = np.cumsum(counted) - 1
        groups = OutcomeGroups(whole.take(gathered.places[counted]).columns())
        for segments, order, starts in runs:
            groups.add_to(list(map(profile_of, segments)), places[order], starts, () in segments)


def _runs(gathered: _Gathered, since: Mapping[int, int]) -> list[SegmentRuns]:
    """The rows of each breakdown by segment: within one breakdown, a row lies in one segment only. ``since``: as in
    ``Waiting``."""
    shares = gathered.shares
    names = shares[0].rows.names
    # The segments that are not wanted are never waited for: no part has so high a number.
    first_part = np.full(len(names) + 1, np.iinfo(np.int64).max)
    first_part[list(since)] = list(since.values())
    parts = np.repeat([of.part for of in shares], [len(of.numbers) for of in shares])
    runs = []
    for numbers in gathered.segments:
        rows = np.flatnonzero(first_part[numbers] <= parts)
        if not len(rows):
            continue
        order = rows[np.argsort(numbers[rows], kind="stable")]
        ordered = numbers[order]
        starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
        runs.append(SegmentRuns([names[of] for of in ordered[starts].tolist()], order, starts))
    return runs
