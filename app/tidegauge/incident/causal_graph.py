"""What can follow from what when a model goes wrong.

    schema ──► values ──► feature drift ──► score drift ──► performance ──► business
    label feed ────────────────────────────────────────────────┘
    system (latency, errors, traffic) stands apart

A request that lacks a column is scored on a default; a feature that shifts shifts the scores; scores that are wrong cost
accuracy, and accuracy costs what the business counts. Labels that do not come make performance look other than it is.
"""

from __future__ import annotations

from tidegauge.judge.metric_names import names

SCHEMA, VALUES, FEATURE_DRIFT, SCORE_DRIFT, PERFORMANCE, BUSINESS, LABEL_FEED, SYSTEM = (
    "schema", "values", "feature drift", "score drift", "performance", "business", "label feed", "system",
)  # fmt: skip
CHAIN = (SCHEMA, VALUES, FEATURE_DRIFT, SCORE_DRIFT, PERFORMANCE, BUSINESS)
"""Each concern may follow from every one before it."""
SHARED = (LABEL_FEED, SCHEMA, VALUES, FEATURE_DRIFT)
"""Concerns of what comes in, which all versions of a model share; what a version makes of it is its own."""
ORDER = (LABEL_FEED, *CHAIN, SYSTEM)
"""From causes to consequences, as an incident lists them."""
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
"""Patterns of metrics, or of detectors' streams, and their concerns; the first that fits counts, the rest is performance."""


def concern_of(metric: str) -> str:
    """Which concern a monitor's metric or a detector's stream belongs to.

    >>> concern_of("data.features.age.missing_ratio"), concern_of("performance.roc_auc"), concern_of("latency_ms")
    ('values', 'performance', 'system')
    """
    return next((concern for pattern, concern in _PATTERNS if names(pattern, metric)), PERFORMANCE)


def follows(cause: str, consequence: str) -> bool:
    """Whether trouble of one concern may bring trouble of the other with it.

    >>> follows("schema", "performance"), follows("performance", "schema"), follows("label feed", "score drift")
    (True, False, False)
    """
    if cause == LABEL_FEED:
        return consequence in (PERFORMANCE, BUSINESS)
    return cause in CHAIN and consequence in CHAIN and CHAIN.index(cause) < CHAIN.index(consequence)
