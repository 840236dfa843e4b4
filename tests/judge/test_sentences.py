"""No sentence has empty brackets, nor a word that a program says for nothing, whatever its members lack."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from support.sentences import EMPTY
from tidegauge.judge import evidence
from tidegauge.judge.evidence import Coincidences, Performance

METRICS = ("data.features.age.shift", "prediction.psi", "performance.roc_auc", "estimated.f1", "estimated.roc_auc",
           "fairness.region.recall_gap", "system.error_ratio", "prediction.misread_confidence")  # fmt: skip

numbers = st.sampled_from([0.0, 0.812, -3.0, 1e9, math.nan, math.inf])
RECORD: dict[str, Any] = {
    "estimated": {"roc_auc": 0.9, "accuracy": 0.8, "f1": 0.7},
    "estimate_mean_absolute_error": {"windows": 3, "roc_auc": 0.02, "accuracy": 0.01, "f1": 0.03},
    "fairness": {"region": {"recall_gap": 0.2, "extremes": {"recall": ["eu", "us"]}}},
    "data": {"features": {"age": {"shift": 0.4, "shift_in": "upper_tail"}}},
    "prediction": {"shift": 0.2, "shift_in": "location", "misread_confidence": 40, "confidence_is": "predicted"},
}


@st.composite
def without_some(draw: st.DrawFn, node: dict[str, Any]) -> dict[str, Any]:
    """The same with some members gone, or no numbers."""
    out: dict[str, Any] = {}
    for name, child in node.items():
        if draw(st.booleans()):
            out[name] = draw(without_some(child)) if isinstance(child, dict) else child
            if isinstance(child, float) and draw(st.booleans()):
                out[name] = draw(numbers)
    return out


@given(
    st.sampled_from(METRICS),
    st.none()
    | st.builds(
        Performance,
        st.just("2025-09-27T00:00:00Z"),
        st.dictionaries(st.sampled_from(["performance.roc_auc", "performance.brier"]), numbers, max_size=2),
        st.lists(st.sampled_from(["auc", "brier"]), max_size=2, unique=True).map(tuple),
    ),
    st.none() | st.lists(st.sampled_from(["age", "plan"]), max_size=2, unique=True).map(tuple),
    st.booleans(),
    without_some(RECORD),
)
def test_what_an_alert_says_beside_its_number(
    metric: str, performance: Performance | None, drifted: tuple[str, ...] | None, ended: bool, record: dict[str, Any]
) -> None:
    said = [
        evidence.coincidence_clause(metric, Coincidences(performance, drifted), ended=ended),
        evidence.direction_clause(metric, record),
        evidence.estimate_clause(metric, record),
        evidence.extremes_clause(metric, record),
        evidence.misreading_clause(metric, record),
    ]
    for text in said:
        assert not EMPTY.search(text), text
        assert not text or text.startswith("; ")
