"""The monitors of a spec that names none."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegauge.baseline.baseline import RESULT_BINS, Baseline
from tidegauge.judge.few_values import can_judge_few
from tidegauge.spec import Condition, ModelSpec, MonitorSpec, RolloutSpec, Severity, duration

KEEP_FIRING_FOR = 7
"""An alert on drift resolves after this many windows without drift, so that a season of several weeks is one alert."""
STILL_FIRING, RECOVERY = 3, 0.5
"""An alert on anything else resolves once its number is back by half of the way from its limit to the baseline's, or after this
many windows within the limit: a number near its limit shall not fire and resolve window by window. Longer, and incidents of a
few days' distance would become one."""
FEW_VALUES = 0.001
"""The level of the exact tests by which faults are judged in windows of few requests."""
LEVEL = 0.01
"""The share of windows without change in which at least one statistical monitor may fire."""
NUMBERS, CATEGORIES, MISSING, SCORE = 0.2 * LEVEL, 0.08 * LEVEL, 0.22 * LEVEL, 0.02 * LEVEL
LABEL, PERFORMANCE, CALIBRATION, POSITIVES = 0.1 * LEVEL, 0.3 * LEVEL, 0.06 * LEVEL, 0.02 * LEVEL
"""How LEVEL is divided among the monitors. MISSING is large because counts of missing values are discrete and small; SCORE is
small because what moves the score also shows in features and labels. PERFORMANCE is divided further among a task's metrics."""
_ABOVE_AUTO = Condition("above", auto=True)
_ABOVE_SMALL = Condition("above", high=0.2, auto=True)
"""0.2 is a small effect (Cohen 1988); less is not reported if the baseline's windows cannot say what is usual."""


def default_rollout(spec: ModelSpec) -> RolloutSpec:
    """How versions that run at the same time are compared if the spec does not say."""
    return RolloutSpec("rollout", max(spec.windows, key=duration))


def default_monitors(spec: ModelSpec, baseline: Baseline | None) -> tuple[MonitorSpec, ...]:
    """Monitors of schema breaks, missing and unseen values, drift, error ratio, performance against the baseline, and the label
    feed.

    Faults that show at once are judged on the shortest window, statistical changes on the longest. Limits come from the
    baseline's window-to-window spread if the baseline spans enough windows. If it does not, blocks of its rows tell how much
    windows differ by chance, and drift must in addition be at least a small effect. If there are too few blocks as well,
    performance is compared with the baseline's and must be worse by more than its interval allows.
    """
    windows = sorted(spec.windows, key=duration)
    short, long = windows[0], windows[-1]
    auto = baseline is not None and baseline.spans_enough(long)
    tested = auto or (baseline is not None and baseline.blocks is not None)

    def above(limit: float) -> Condition:
        return Condition("above", high=limit)

    def drift(name: str, metric: str, level: float, hurts: bool = True) -> MonitorSpec:
        return MonitorSpec(
            name, metric, long, _ABOVE_AUTO if auto else _ABOVE_SMALL, "warning", keep_firing_for=KEEP_FIRING_FOR,
            significance=level, critical_with_performance=hurts,
        )  # fmt: skip

    if tested and baseline is not None:
        said = "shift" if baseline.schema.edges.keys() & RESULT_BINS.keys() else "mix_shift"
        drifts = [
            drift("feature-drift", "data.features.*.shift", NUMBERS),
            drift("category-drift", "data.features.*.mix_shift", CATEGORIES),
            drift("missing-drift", "data.features.*.missing_shift", MISSING, hurts=False),
            drift("score-drift", f"prediction.{said}", SCORE),
        ]
        if spec.task != "regression":
            drifts.append(drift("label-drift", "label_mix.mix_shift", LABEL, hurts=False))
    else:
        drifts = [
            drift("feature-drift", "data.features.*.psi", LEVEL / 2), drift("score-drift", "prediction.psi", LEVEL / 2)
        ]  # fmt: skip

    monitors = [
        MonitorSpec("missing-feature", "data.missing_features", short, above(0), "critical"),
        MonitorSpec("unexpected-feature", "data.unexpected_features", short, above(0), "warning"),
        MonitorSpec("type-mismatch", "data.features.*.type_mismatch_ratio", short, above(0.02), "critical"),
        MonitorSpec(
            "missing-values", "data.features.*.missing_ratio", short,
            Condition("above", high=0.05, relative_to_baseline=True, auto=True), "critical",
        ),
        MonitorSpec(
            "unseen-values", "data.features.*.unseen_ratio", short,
            Condition("above", high=0.1, relative_to_baseline=True), "warning",
        ),
        MonitorSpec("out-of-range", "data.features.*.out_of_range_ratio", short, above(0.02), "warning"),
        MonitorSpec("error-ratio", "system.error_ratio", short, above(0.05), "critical"),
        *drifts,
        MonitorSpec("label-feed", "label_feed.coverage_gap", long, above(0.25), "critical"),
    ]  # fmt: skip

    def performance(
        name: str, metric: str, condition: Condition, severity: Severity = "critical", significance: float | None = None
    ) -> MonitorSpec:
        return MonitorSpec(
            name, metric, long, condition, severity, confidence=None if tested else 0.95, significance=significance
        )  # fmt: skip

    def worse(kind: Literal["above", "below"], share: float) -> Condition:
        if tested:
            return Condition(kind, auto=True, level=PERFORMANCE / (1 if spec.task == "regression" else 2))
        low, high = (None, share) if kind == "above" else (share, None)
        return Condition(kind, low, high, relative_to_baseline=True, percent=True)

    if spec.task != "regression":
        monitors.append(MonitorSpec("no-probability", "prediction.no_probability_ratio", short, above(0.01), "critical"))
    if spec.task == "regression":
        monitors += [
            performance("rmse", "performance.rmse", worse("above", 0.2)),
            MonitorSpec("unreadable-predictions", "prediction.type_mismatch_ratio", short, above(0.02), "critical"),
            MonitorSpec("unreadable-labels", "unreadable_label_ratio", long, above(0.02), "critical"),
        ]
    elif spec.task == "multiclass":
        monitors += [
            performance("accuracy", "performance.accuracy", worse("below", 0.1)),
            performance("log-loss", "performance.log_loss", worse("above", 0.25)),
        ]
    else:
        monitors += [
            performance("roc-auc", "performance.roc_auc", worse("below", 0.1)),
            performance("brier", "performance.brier", worse("above", 0.25)),
        ]
        monitors += [
            MonitorSpec("misread-confidence", "prediction.misread_confidence", long, above(0), "warning"),
            MonitorSpec("unknown-classes", "performance.unknown_class_ratio", long, above(0.01), "critical"),
        ]
        if auto:
            # Only the spread of the baseline's windows can tell what calibration error, or share of positives, is too large.
            monitors += [
                performance("calibration", "performance.ece", _ABOVE_AUTO, "warning", significance=CALIBRATION),
                MonitorSpec(
                    "positive-ratio", "prediction.positive_ratio", long,
                    Condition("outside", auto=True, level=POSITIVES), "warning", critical_with_performance=True,
                ),
            ]  # fmt: skip
    return tuple(map(_with_few_values_and_recovery, monitors))


def _with_few_values_and_recovery(monitor: MonitorSpec) -> MonitorSpec:
    if monitor.keep_firing_for > 1:
        return monitor
    few = FEW_VALUES if can_judge_few(monitor.metric, monitor.condition) else None
    return msgspec.structs.replace(monitor, few_values=few, keep_firing_for=STILL_FIRING, recovery_margin=RECOVERY)
