"""Which rows belong to which segment, and to which pane or window of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import Segment


class Owner(NamedTuple):
    """Whose rows some rows are: the segment, and the number of its ``place``, a pane or a window."""

    segment: Segment
    place: int


class Runs(NamedTuple):
    """Rows sorted so that those of one owner are a run: ``order`` (m), the numbers of the rows; ``starts`` (G), where in
    ``order`` each run begins; ``owners`` (G)."""

    order: NDArray[np.intp]
    starts: NDArray[np.intp]
    owners: list[Owner]


class Group(NamedTuple):
    """The numbers of the ``rows`` (k) that belong to a segment and place."""

    segment: Segment
    place: int
    rows: NDArray[np.intp]


class Segments:
    """The segments into which a breakdown (names of dimensions) divides ``values``, combinations of segment values.

    ``names``: the segments, in the order they are first met. ``codes``: for each combination, which of them it lies in; -1
    where it has no value for one of the dimensions.
    """

    __slots__ = ("codes", "names")

    def __init__(self, values: Sequence[Segment], breakdown: tuple[str, ...]) -> None:
        numbers: dict[Segment, int] = {}
        self.codes = np.array([segment_code(of, breakdown, numbers) for of in values], np.int64)
        self.names = list(numbers)

    def runs(self, contexts: NDArray[np.int64], places: NDArray[np.int64]) -> Runs:
        """The rows (n) by segment and place. ``contexts`` (n) says which of the combinations each row has, ``places`` (n)
        holds any whole numbers. Rows that lie in no segment are left out."""
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

    def groups(self, contexts: NDArray[np.int64], places: NDArray[np.int64]) -> Iterator[Group]:
        """``runs``, one by one."""
        order, starts, owners = self.runs(contexts, places)
        ends = [*starts[1:].tolist(), len(order)] if owners else ()
        for (segment, place), begin, end in zip(owners, starts.tolist(), ends, strict=True):
            yield Group(segment, place, order[begin:end])


def segment_code(values: Segment, breakdown: tuple[str, ...], segments: dict[Segment, int]) -> int:
    """The number that ``segments`` gives the segment of a breakdown in which ``values`` lie, a new one if it is not there yet;
    -1 where a dimension of the breakdown has no value."""
    if not breakdown:
        return segments.setdefault((), 0)
    held = dict(values)
    if not all(dimension in held for dimension in breakdown):
        return -1
    return segments.setdefault(tuple((d, held[d]) for d in breakdown), len(segments))
