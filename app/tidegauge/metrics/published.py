"""What of a record's numbers is published: as many digits as mean something, and of segments what people look at.

Counts, and what is exact arithmetic of counts and sums (``performance``, ``business``, coverage, ratios of requests) with the
estimates that are compared with it, are published in full. Everything that is a distance or a test, a quantile or a moment has
DIGITS significant digits. Of a segment, of which there may be hundreds, what says the same in other words is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidegauge.baseline.scored import PERFORMANCE, RATIO, SCORES

DIGITS = 7
"""A number is as near to the published one as 5 in ten million, nearer than any of these is to the truth."""
_FORMAT = f"%.{DIGITS}g"
EXACT = frozenset((
    "performance", "estimated", "estimate_error", "estimate_mean_absolute_error", "business", "coverage", "error_ratio",
    "expected_coverage", "class_ratio", "missing_ratio", "type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio",
    "positive_ratio", "abstain_ratio", "unreadable_label_ratio",
))  # fmt: skip
"""Members that are published in full."""
STANDARD_SCORES = frozenset((SCORES, PERFORMANCE))
"""Of a segment, not published: they follow from effects and p-values beside them."""
RESTATING = frozenset((
    SCORES, RATIO, "js", "wasserstein", "min", "max", "missing_shift", "missing_p_value",
))  # fmt: skip
"""Of a segment's feature: the same shift as PSI and KS tell of, the same rise as the ratio of missing values, and extremes."""
USUALLY_NONE = frozenset(("type_mismatch_ratio", "out_of_range_ratio", "unseen_ratio"))
"""Of a segment's feature, published where it is not 0."""


def published(members: Mapping[str, Any], *, segment: bool) -> dict[str, Any]:
    """The members of a record, or of a side of it, as they are published.

    >>> published({"performance": {"ece": 0.0123456789}, "label_mix": {"psi": 0.123456789}}, segment=False)
    {'performance': {'ece': 0.0123456789}, 'label_mix': {'psi': 0.1234568}}
    """
    if segment:
        members = {name: value for name, value in members.items() if name not in STANDARD_SCORES}
        if "data" in members:
            features = {name: _of_segment(of) for name, of in members["data"]["features"].items()}
            members["data"] = members["data"] | {"features": features}
    return {name: value if name in EXACT else _rounded(value) for name, value in members.items()}


def _of_segment(feature: Mapping[str, Any]) -> dict[str, Any]:
    return {n: value for n, value in feature.items() if n not in RESTATING and (value or n not in USUALLY_NONE)}


def _rounded(node: Any) -> Any:
    # Told apart by their exact types: of a record's thousand numbers each counts.
    kind = type(node)
    if kind is float:
        return float(_FORMAT % node) if node else 0
    if kind is dict:
        return {name: of if type(of) is int or name in EXACT else _rounded(of) for name, of in node.items()}
    if kind in (list, tuple) and any(isinstance(of, float | dict) for of in node):
        return [_rounded(of) for of in node]
    return node
