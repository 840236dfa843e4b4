"""The subject of an alert, and the labels that identify it."""

from __future__ import annotations

import msgspec

from tidegauge.engine.delta import Segment
from tidegauge.spec import MonitorSpec, segment_name


class Subject(msgspec.Struct, frozen=True):
    """What an alert is about: a model version, or one segment of it."""

    model: str
    version: str
    segment: Segment = ()


def labels_of(name: str, subject: Subject) -> dict[str, str]:
    """The labels of the alert that the monitor or detector called ``name`` raises on ``subject``.

    >>> labels_of("auc", Subject("churn", "churn_xgb:3", (("region", "eu"),)))
    {'alertname': 'auc', 'model': 'churn', 'model_version': 'churn_xgb:3', 'segment': 'region=eu'}
    """
    return {
        "alertname": name,
        "model": subject.model,
        "model_version": subject.version,
        "segment": segment_name(subject.segment),
    }


def member_label(monitor: MonitorSpec, path: str) -> dict[str, str]:
    """The label that distinguishes the numbers that a ``*`` in the monitor's metric stands for; {} if the metric has no
    ``*``."""
    if "*" not in monitor.metric:
        return {}
    head, tail = monitor.metric.split("*", 1)
    name = path[len(head) : len(path) - len(tail)] if tail.count("*") == 0 else path
    return {"feature" if path.startswith(("data.features.", "attributions.")) else "metric": name}
