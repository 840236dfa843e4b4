"""Which of a record's numbers are published, and with how many digits.

Published in full are counts, what follows from counts and sums by exact arithmetic (``performance``, ``business``, coverage,
ratios of requests), and the estimates that are compared with these. Distances, tests, quantiles and moments have DIGITS
significant digits. Standard scores, with which windows are judged and which repeat effects and p-values, are left out. Records
of segments, of which there may be hundreds, leave out more that repeats other numbers, and have SEGMENT_DIGITS of their
features' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.scored import PERFORMANCE, RATIO, SCORES
from tidegauge.metrics.interval import Interval
from tidegauge.metrics.rounding import magnitudes, to_decimals, to_digits

DIGITS = 7
"""Rounding changes a number by at most 5 in ten million, far less than its own uncertainty."""
SEGMENT_DIGITS = 5
"""A segment's numbers rest on few predictions: with a hundred, its mean is known to a tenth of the standard deviation."""
_FORMAT = f"%.{DIGITS}g"
EXACT = frozenset((
    "performance", "estimated", "estimate_error", "estimate_mean_absolute_error", "business", "coverage", "error_ratio",
    "expected_coverage", "class_ratio", "missing_ratio", "type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio",
    "positive_ratio", "abstain_ratio", "unreadable_label_ratio",
))  # fmt: skip
"""Members that are published in full."""
STANDARD_SCORES = frozenset((SCORES, PERFORMANCE, RATIO))
"""Left out of all records: they follow from effects and p-values that are there."""
RESTATING = frozenset((
    "js", "wasserstein", "min", "max", "missing_shift", "missing_p_value", "tail_psi", "tail_p_value", "above_p99_ratio",
    "below_p01_ratio",
))  # fmt: skip
"""Left out of a segment's features: extremes, and numbers that repeat others, since PSI and KS show the same shift,
``missing_ratio`` the same rise, and ``shift`` the same tails."""
RELATIVE = frozenset(("std", "psi", "p_value", "ks", "ks_p_value", "shift", "shift_p_value", "mix_shift", "mix_p_value"))
"""Numbers of a segment's features that are published with SEGMENT_DIGITS significant digits."""
LOCATIONS = frozenset(("mean", "p50"))
"""Numbers of a segment's features that are published with as many decimals as the standard deviation, however far from zero."""
USUALLY_NONE = frozenset(("type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio"))
"""Left out of a segment's features if they are 0."""


def published(members: Mapping[str, Any], *, segment: bool) -> dict[str, Any]:
    """The members of a record, or of a side of it, as they are published.

    >>> published({"performance": {"ece": 0.0123456789}, "label_mix": {"psi": 0.123456789}}, segment=False)
    {'performance': {'ece': 0.0123456789}, 'label_mix': {'psi': 0.1234568}}
    """
    found = {
        name: value if name in EXACT or (segment and name == "data") else _rounded(value)
        for name, value in members.items()
        if name not in STANDARD_SCORES
    }
    if segment and "data" in found:
        features = found["data"]["features"]
        said = segment_features(list(features.values()))
        found["data"] = found["data"] | {"features": dict(zip(features, said, strict=True))}
    return found


def segment_features(features: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The members of features of segments as they are published.

    >>> members = {"count": 28, "missing_ratio": 0.0, "mean": 1000.123456, "std": 0.98643391, "psi": 0.5125328, "js": 0.3}
    >>> segment_features([members])
    [{'count': 28, 'missing_ratio': 0, 'mean': 1000.123, 'std': 0.98643, 'psi': 0.51253}]
    """
    said = [_of_segment(of) for of in features]
    for name in sorted(LOCATIONS | RELATIVE):
        holding = [number for number, of in enumerate(features) if name in of]
        if not holding:
            continue
        values = np.array([features[number][name] for number in holding], np.float64)
        if name in LOCATIONS:
            rounded = rounded_locations(values, np.array([features[number].get("std", 0.0) for number in holding]))
        else:
            rounded = to_digits(values, SEGMENT_DIGITS)
        for number, value in zip(holding, rounded.tolist(), strict=True):
            said[number][name] = value or 0
    return said


def rounded_locations(values: NDArray[np.float64], deviations: NDArray[np.float64]) -> NDArray[np.float64]:
    """LOCATIONS (any shape) rounded to the last of SEGMENT_DIGITS of their standard ``deviations`` (the same shape), and to
    DIGITS; only the latter where the deviation is 0."""
    decimals = SEGMENT_DIGITS - 1 - magnitudes(deviations)
    return to_digits(np.where(deviations > 0, to_decimals(values, decimals), values), DIGITS)


def _of_segment(feature: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a segment's feature that are published, RELATIVE and LOCATIONS among them as they are."""
    return {
        name: value if name in RELATIVE or name in LOCATIONS else (value or 0) if name in EXACT else _rounded(value)
        for name, value in feature.items()
        if name not in RESTATING and name not in STANDARD_SCORES and (value or name not in USUALLY_NONE)
    }


def _rounded(node: Any) -> Any:
    # Exact types are compared first, which is fast: a record has a thousand numbers.
    kind = type(node)
    if kind is float:
        return float(_FORMAT % node) if node else 0
    if kind is Interval:
        return [float(_FORMAT % bound) if bound else 0 for bound in node]
    if kind is dict:
        return {
            name: of if type(of) is int or (name in EXACT and of != 0) else _rounded(of)
            for name, of in node.items()
            if name not in STANDARD_SCORES
        }
    if isinstance(node, list | tuple) and any(isinstance(of, float | dict) for of in node):
        return [_rounded(of) for of in node]
    return node
