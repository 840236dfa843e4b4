"""On how many labels each mean among the performance numbers rests, where these are not all labels: requests that failed have
no class or number, some events no score, some labels no number. With them the means of windows give that of all."""

from __future__ import annotations

from tidegauge.metrics.performance import is_regression
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import Task


def performance_counts(outcome: OutcomeProfile, task: Task | None) -> dict[str, int]:
    """Name of the mean → labels it is taken over, of those that are not taken over all."""
    if is_regression(outcome, task):
        errors = round(outcome.sum("errors"))
        counts = {"mae": errors, "rmse": errors, "bias": errors, "mape": round(outcome.sum("relative_count"))}
    else:
        counts = {"accuracy": sum(outcome.confusion.values())}
        if task == "multiclass":
            counts["log_loss"] = round(outcome.sum("class_log_loss_count"))
        else:
            _, positives, negatives = outcome.scored()
            counts["brier"] = counts["log_loss"] = counts["ece"] = int(positives.sum() + negatives.sum())
    return {name: count for name, count in counts.items() if 0 < count != outcome.labels}
