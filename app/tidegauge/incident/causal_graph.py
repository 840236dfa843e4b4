"""What can follow from what when a model goes wrong.

    schema ──► values ──► feature drift ──► score drift ──► performance ──► business
    label feed ────────────────────────────────────────────────┘
    system (latency, errors, traffic) stands apart

A request that lacks a column is scored with a default value, a shifted feature shifts the scores, wrong scores lower the
accuracy, and lower accuracy lowers business KPIs. Missing labels make performance look different from what it is.
"""

from __future__ import annotations

import functools

from tidegauge.judge.metric_names import names

SCHEMA, VALUES, FEATURE_DRIFT, SCORE_DRIFT, PERFORMANCE, BUSINESS, LABEL_FEED, SYSTEM = (
    "schema", "values", "feature drift", "score drift", "performance", "business", "label feed", "system",
)  # fmt: skip
CHAIN = (SCHEMA, VALUES, FEATURE_DRIFT, SCORE_DRIFT, PERFORMANCE, BUSINESS)
"""Each concern may be a consequence of any one before it."""
SHARED = (LABEL_FEED, SCHEMA, VALUES, FEATURE_DRIFT)
"""Concerns about the input, which all versions of a model share; the others are about one version's output."""
ORDER = (LABEL_FEED, *CHAIN, SYSTEM)
"""All concerns from causes to consequences, the order in which an incident lists its alerts."""
_PATTERNS = (
    ("data.missing_features", SCHEMA),
    ("data.unexpected_features", SCHEMA),
    ("data.features.*.type_mismatch_ratio", SCHEMA),
    ("data.features.*.missing_ratio", VALUES),
    ("data.features.*.missing_shift", VALUES),
    ("data.features.*.unseen_ratio", VALUES),
    ("data.features.*.out_of_range_ratio", VALUES),
    ("data.*", FEATURE_DRIFT),
    ("prediction.type_mismatch_ratio", SCHEMA),
    ("prediction.misread_confidence", SCHEMA),
    ("performance.unknown_class_ratio", SCHEMA),
    ("performance.no_probability_ratio", SCHEMA),
    ("prediction.no_probability_ratio", SCHEMA),
    ("prediction.*", SCORE_DRIFT),
    ("attribution*", SCORE_DRIFT),
    ("estimate*", SCORE_DRIFT),
    ("score", SCORE_DRIFT),
    ("business.*", BUSINESS),
    ("system.*", SYSTEM),
    ("latency_ms", SYSTEM),
    ("predictions", SYSTEM),
    ("label_feed.*", LABEL_FEED),
    ("label_delay_seconds.*", LABEL_FEED),
    ("coverage", LABEL_FEED),
    ("expected_coverage", LABEL_FEED),
    ("labels", LABEL_FEED),
    ("unreadable_label_ratio", LABEL_FEED),
)
"""Patterns of metrics, or of detectors' streams, and their concerns; the first that matches counts. A metric that matches none
belongs to performance."""


@functools.lru_cache(4096)
def concern_of(metric: str) -> str:
    """The concern that a monitor's metric or a detector's stream belongs to.

    >>> concern_of("data.features.age.missing_ratio"), concern_of("performance.roc_auc"), concern_of("latency_ms")
    ('values', 'performance', 'system')
    """
    return next((concern for pattern, concern in _PATTERNS if names(pattern, metric)), PERFORMANCE)


def follows(cause: str, consequence: str) -> bool:
    """Whether a fault of the concern ``cause`` may lead to a fault of the concern ``consequence``.

    >>> follows("schema", "performance"), follows("performance", "schema"), follows("label feed", "score drift")
    (True, False, False)
    """
    if cause == LABEL_FEED:
        return consequence in (PERFORMANCE, BUSINESS)
    return cause in CHAIN and consequence in CHAIN and CHAIN.index(cause) < CHAIN.index(consequence)
