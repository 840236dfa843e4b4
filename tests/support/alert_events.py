"""Alert events as the monitor stage writes them, for tests of what reads them."""

from __future__ import annotations

from typing import Any

from tidegauge.alert.life_cycle import Transition, cloud_event, fingerprint

EVIDENCE = {
    "segments": [{"segment": {"region": "eu"}, "value": 0.7, "share": 0.4}],
    "features": [{"feature": "age", "psi": 0.4, "p_value": 0.001, "effect": 12.5}, {"feature": "plan"}],
    "request_ids": ["r1", "r2"],
    "performance": {"window_start": "2025-09-26T00:00:00Z", "values": {"performance.roc_auc": 0.81}, "breached": ["auc"]},
    "drifted_features": ["age"],
}


def alert_event(name: str, status: str, sequence: int, severity: str = "critical", **more: Any) -> tuple[bytes, bytes]:
    """(key, value) of one transition of the alert ``name``."""
    labels = {"alertname": name, "model": "churn", "model_version": "churn_xgb:3", "segment": "region=eu"}
    firing = status == "firing"
    summary = "churn_xgb:3: AUC is 0.81 for region=eu" if firing else "churn_xgb:3: AUC is 0.9 again for region=eu"
    figures = "roc_auc is 0.81, below 0.85, in the 1d window" if firing else "roc_auc is 0.9, no longer below 0.85"
    data = {
        "status": status, "fingerprint": fingerprint(labels), "kind": "monitor", "severity": severity, "labels": labels,
        "annotations": {"summary": summary, "description": figures, "runbook_url": "https://playbooks/accuracy-drop.md"},
        "starts_at": "2025-09-27T00:00:00Z", "ends_at": None if firing else "2025-09-28T00:00:00Z",
        "metric": "performance.roc_auc", "value": 0.81, "condition": "below 0.85", "baseline": 0.9,
        "window": {"length": "1d", "start": "2025-09-27T00:00:00Z", "end": "2025-09-28T00:00:00Z", "revision": 1},
        "sample_size": 6400, "p_value": 0.0004, "evidence": EVIDENCE if firing else {},
    } | more  # fmt: skip
    return data["fingerprint"].encode(), cloud_event(data["fingerprint"], Transition(status, sequence), data, 1_759_017_660.0)
