"""Which rows belong to which segment, and to which pane or window of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import Segment


class Owner(NamedTuple):
    """What some rows belong to: a segment, and the number of a ``place``, which is a pane or a window."""

    segment: Segment
    place: int


class Runs(NamedTuple):
    """Rows in runs, one run for each of G owners. ``order`` (m): the numbers of the rows; ``starts`` (G): where in ``order``
    each run begins; ``owners`` (G)."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    owners: list[Owner]


class Segments:
    """The segments into which a breakdown divides C combinations of segment values.

    ``values`` (C): the combinations; ``breakdown``: the names of the dimensions. ``names``: the segments, in the order of their
    first combination. ``codes`` (C): the index in ``names`` of each combination's segment; -1 if it lacks a value for one of
    the dimensions.
    """

    __slots__ = ("codes", "names")

    def __init__(self, values: Sequence[Segment], breakdown: tuple[str, ...]) -> None:
        numbers: dict[Segment, int] = {}
        self.codes = np.array([segment_code(by_dimension(of), breakdown, numbers) for of in values], np.int64)
        self.names = list(numbers)

    def runs(self, contexts: NDArray[np.int64], places: NDArray[np.int64]) -> Runs:
        """The rows by segment and place. ``contexts`` (n): the index of each row's combination; ``places`` (n): any whole
        numbers. Rows that are in no segment are left out."""
        first = int(places.min())
        span = int(places.max()) - first + 1
        if span == 1 and len(self.names) == 1 and self.codes.min() == 0:
            return Runs(np.arange(len(places)), np.zeros(1, np.intp), [Owner(self.names[0], first)])
        codes = self.codes[contexts]
        joint = codes * span + (places - first)
        joint[codes < 0] = -1
        order = np.argsort(joint, kind="stable")
        ordered = joint[order]
        skip = int(np.searchsorted(ordered, 0))
        order, ordered = order[skip:], ordered[skip:]
        if not len(order):
            return Runs(order, order, [])
        first_of_run = np.ones(len(ordered), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=first_of_run[1:])
        starts = np.flatnonzero(first_of_run)
        owners = [Owner(self.names[j // span], j % span + first) for j in ordered[starts].tolist()]
        return Runs(order, starts, owners)


_Held = dict[str, tuple[str, str]]


def by_dimension(values: Segment) -> _Held:
    """The pairs of dimension and value by dimension."""
    return {pair[0]: pair for pair in values}


def segment_code(held: _Held, breakdown: tuple[str, ...], segments: dict[Segment, int]) -> int:
    """The number in ``segments`` of the segment of a breakdown that a combination of values lies in, which is added if it is
    not in there; -1 if a dimension of the breakdown has no value. ``held``: the combination, as from ``by_dimension``."""
    segment = tuple([held.get(dimension) for dimension in breakdown])
    code = segments.get(segment)  # type: ignore[arg-type]
    if code is None:
        if None in segment:
            return -1
        code = segments[segment] = len(segments)  # type: ignore[index]
    return code


MAX_REMEMBERED = 500
"""Of more combinations of segment values those that come in one part are hardly ever those of the next."""


class SegmentNumbers:
    """Numbers the segments of one model in the order in which they are first seen. ``names``: the segments by number; the whole
    model is the first."""

    __slots__ = ("_breakdowns", "_numbers", "_remembered", "names")

    def __init__(self) -> None:
        self.names: list[Segment] = [()]
        self._numbers: dict[Segment, int] = {(): 0}
        # By combination of segment values, the numbers (B) of its segments in these breakdowns.
        self._remembered: dict[Segment, list[int]] = {}
        self._breakdowns: Sequence[tuple[str, ...]] = ()

    def of(self, values: Sequence[Segment], breakdowns: Sequence[tuple[str, ...]]) -> NDArray[np.int32]:
        """The numbers (B, C) of the segments into which B breakdowns divide C combinations of segment values; -1 if a
        combination lacks a value for one of the dimensions."""
        if breakdowns != self._breakdowns or len(self._remembered) > MAX_REMEMBERED:
            self._remembered.clear()
            self._breakdowns = breakdowns
        remembered = self._remembered
        for combination in values:
            if combination not in remembered:
                held = by_dimension(combination)
                remembered[combination] = [segment_code(held, of, self._numbers) for of in breakdowns]
        if len(self._numbers) > len(self.names):
            self.names.extend(list(self._numbers)[len(self.names) :])
        return np.array([remembered[of] for of in values], np.int32).reshape(len(values), len(breakdowns)).T
