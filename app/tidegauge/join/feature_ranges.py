"""Breakdowns by a numeric feature: finds the range of the spec that a prediction's value lies in."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from tidegauge.engine.events import Scalar
from tidegauge.spec import ModelSpec

MISSING, NO_NUMBER = "missing", "no number"


def range_of(value: Scalar, bounds: Sequence[float]) -> str:
    """The name, as in a segment, of the range of a value. ``bounds``: the numbers that separate the ranges, ascending.

    >>> [range_of(value, (30.0, 45.0)) for value in (12, 30.0, 45, None, "x")]
    ['below 30', '30 to 45', '45 or more', 'missing', 'no number']
    """
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NO_NUMBER
    if not math.isfinite(value):
        return MISSING
    place = bisect_right(bounds, value)
    if place == 0:
        return f"below {bounds[0]:g}"
    return f"{bounds[place - 1]:g} " + ("or more" if place == len(bounds) else f"to {bounds[place]:g}")


def ranged_dimensions(spec: ModelSpec) -> dict[str, tuple[float, ...]]:
    """The dimensions of a spec's breakdowns that are features with ranges, and the numbers that separate these."""
    named = dict.fromkeys(dimension for breakdown in spec.segments for dimension in breakdown)
    return {name: of.ranges for name in named if (of := spec.features.get(name)) is not None and of.ranges}


def ranges_of(features: Mapping[str, Scalar] | None, spec: ModelSpec) -> dict[str, str]:
    """The ranges of a prediction's features by dimension; {} if it has no features, for instance because it failed."""
    if not features:
        return {}
    return {name: range_of(features.get(name), bounds) for name, bounds in ranged_dimensions(spec).items()}
