"""Which rows belong to which segment and place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tidegauge.engine.delta import Segment
from tidegauge.join.contexts import Context


def runs(
    known: Sequence[Context], breakdown: tuple[str, ...], contexts: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], list[tuple[Segment, int]]]:
    """Rows sorted by (segment, place): the order, where each run begins, and whose it is. ``contexts`` and ``places`` (n) of
    the rows, the former into ``known``, the latter any numbers; rows without one of the breakdown's dimensions are left out."""
    unique, inverse = np.unique(contexts, return_inverse=True)
    segments: dict[Segment, int] = {}
    codes = np.array([segment_code(known[c].values, breakdown, segments) for c in unique.tolist()])
    first = int(places.min())
    span = int(places.max()) - first + 1
    joint = codes[inverse] * span + (places - first)
    joint[codes[inverse] < 0] = -1
    order = np.argsort(joint, kind="stable")
    ordered = joint[order]
    skip = int(np.searchsorted(ordered, 0))
    order, ordered = order[skip:], ordered[skip:]
    if not len(order):
        return order, order, []
    starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))
    names = list(segments)
    owners = [(names[j // span], j % span + first) for j in ordered[starts].tolist()]
    return order, starts, owners


def segment_code(values: Segment, breakdown: tuple[str, ...], segments: dict[Segment, int]) -> int:
    held = dict(values)
    if not all(dimension in held for dimension in breakdown):
        return -1
    return segments.setdefault(tuple((d, held[d]) for d in breakdown), len(segments))
