"""The number of labels that each mean among the performance numbers is taken over, if that is not all labels: failed requests
have no class or number, some events no score, some labels no number. With these counts, means of windows can be combined."""

from __future__ import annotations

from tidegauge.metrics.performance import is_regression
from tidegauge.metrics.scored_outcomes import scored
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import Task


def performance_counts(outcome: OutcomeProfile, task: Task | None) -> dict[str, int]:
    """The number of labels by name of the mean, for means that are not taken over all labels."""
    if is_regression(outcome, task):
        errors = round(outcome.sum("errors"))
        counts = {"mae": errors, "rmse": errors, "bias": errors, "mape": round(outcome.sum("relative_count"))}
    else:
        counts = {"accuracy": sum(outcome.confusion.values())}
        if task == "multiclass":
            counts["log_loss"] = round(outcome.sum("class_log_loss_count"))
        else:
            counts["brier"] = counts["log_loss"] = counts["ece"] = scored(outcome).outcomes
    return {name: count for name, count in counts.items() if 0 < count != outcome.labels}
