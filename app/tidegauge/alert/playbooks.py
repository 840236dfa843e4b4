"""Finds the playbook an alert links to if its spec names no runbook: ``docs/playbooks/`` has a page for each kind of alert."""

from __future__ import annotations

from tidegauge.spec import ROLLOUT

DIRECTORY = "docs/playbooks"
PAGES = (
    ("data.missing_features", "schema-break"),
    ("data.unexpected_features", "schema-break"),
    ("data.features.*.type_mismatch_ratio", "schema-break"),
    ("data.features.*.missing_ratio", "missing-values"),
    ("data.features.*.missing_shift", "missing-values"),
    ("data.features.*.unseen_ratio", "unseen-values"),
    ("data.features.*.out_of_range_ratio", "out-of-range"),
    ("data.*", "feature-drift"),
    ("attribution*", "feature-drift"),
    ("prediction.type_mismatch_ratio", "unreadable-numbers"),
    ("unreadable_label_ratio", "unreadable-numbers"),
    ("prediction.misread_confidence", "misread-confidence"),
    ("performance.unknown_class_ratio", "unknown-classes"),
    ("performance.no_probability_ratio", "no-probability"),
    ("prediction.no_probability_ratio", "no-probability"),
    ("prediction.*", "score-drift"),
    ("label_mix.*", "label-drift"),
    ("performance.brier", "calibration"),
    ("performance.log_loss", "calibration"),
    ("performance.ece", "calibration"),
    ("calibration.*", "calibration"),
    ("performance.*", "accuracy-drop"),
    ("estimate*", "accuracy-drop"),
    ("fairness.*", "fairness-gap"),
    ("business.*", "conversion-drop"),
    ("system.error_ratio", "error-ratio"),
    ("system.latency_ms.*", "latency"),
    ("system.*_ratio.*", "resources"),
    ("system.memory_bytes.*", "resources"),
    ("system.*", "traffic"),
    ("predictions", "traffic"),
    ("label_delay_seconds.*", "label-delay"),
    (ROLLOUT, "canary-worse"),
    ("*", "label-feed"),
)
"""Patterns of metrics and their pages; the first pattern that matches counts."""
STREAMS = {"error": "accuracy-drop", "abs_error": "accuracy-drop", "score": "score-drift", "latency_ms": "latency"}
"""Pages for the alerts of detectors, by the stream that the detector reads."""
STREAM_HEALTH = ("stream-lag", "dead-letters", "partitioner", "reused-ids")
"""Pages of alerts that Prometheus raises on tidegauge itself."""


def page_of(metric: str) -> str:
    """The playbook of a monitor's metric or of a detector's stream.

    >>> page_of("data.features.age.psi"), page_of("performance.roc_auc"), page_of("latency_ms")
    ('feature-drift', 'accuracy-drop', 'latency')
    """
    # Imported here so that a process that needs only DIRECTORY, such as a supervisor, does not load SciPy.
    from tidegauge.judge.metric_names import names

    return STREAMS.get(metric) or next(page for pattern, page in PAGES if names(pattern, metric))


def runbook_url(base: str, metric: str) -> str:
    """The address of the playbook for ``metric``. ``base``: the directory, or the address, that holds the playbooks.

    >>> runbook_url("https://example.com/playbooks/", "business.revenue.mean")
    'https://example.com/playbooks/conversion-drop.md'
    """
    return f"{base.rstrip('/')}/{page_of(metric)}.md"
