"""Which rows belong to which segment and place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import Segment

Runs = tuple[NDArray[np.intp], NDArray[np.intp], list[tuple[Segment, int]]]


class Segments:
    """The segments of one breakdown among ``values``, combinations of segment values: their ``names`` in the order they come,
    and the ``codes`` (of each combination), -1 of one without one of the breakdown's dimensions."""

    __slots__ = ("codes", "names")

    def __init__(self, values: Sequence[Segment], breakdown: tuple[str, ...]) -> None:
        numbers: dict[Segment, int] = {}
        self.codes = np.array([segment_code(of, breakdown, numbers) for of in values], np.int64)
        self.names = list(numbers)

    def runs(self, contexts: NDArray[np.int64], places: NDArray[np.int64]) -> Runs:
        """Rows sorted by (segment, place): the order, where each run begins, and whose it is. ``contexts`` (n) of the rows,
        into the values, and their ``places`` (n), any numbers; rows of no segment are left out."""
        first = int(places.min())
        span = int(places.max()) - first + 1
        if span == 1 and len(self.names) == 1 and self.codes.min() == 0:
            return np.arange(len(places)), np.zeros(1, np.intp), [(self.names[0], first)]
        codes = self.codes[contexts]
        joint = codes * span + (places - first)
        joint[codes < 0] = -1
        order = np.argsort(joint, kind="stable")
        ordered = joint[order]
        skip = int(np.searchsorted(ordered, 0))
        order, ordered = order[skip:], ordered[skip:]
        if not len(order):
            return order, order, []
        first_of_run = np.ones(len(ordered), bool)
        np.not_equal(ordered[1:], ordered[:-1], out=first_of_run[1:])
        starts = np.flatnonzero(first_of_run)
        owners = [(self.names[j // span], j % span + first) for j in ordered[starts].tolist()]
        return order, starts, owners

    def groups(self, contexts: NDArray[np.int64], places: NDArray[np.int64]) -> Iterator[tuple[Segment, int, NDArray[np.intp]]]:
        """Segment and place, and the rows of both: ``runs`` one by one."""
        order, starts, owners = self.runs(contexts, places)
        ends = [*starts[1:].tolist(), len(order)] if owners else ()
        for (segment, place), begin, end in zip(owners, starts.tolist(), ends, strict=True):
            yield segment, place, order[begin:end]


def segment_code(values: Segment, breakdown: tuple[str, ...], segments: dict[Segment, int]) -> int:
    if not breakdown:
        return segments.setdefault((), 0)
    held = dict(values)
    if not all(dimension in held for dimension in breakdown):
        return -1
    return segments.setdefault(tuple((d, held[d]) for d in breakdown), len(segments))
