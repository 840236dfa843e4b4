"""The monitors a spec gets that names none."""

from __future__ import annotations

from typing import Literal

from tidegauge.baseline import Baseline
from tidegauge.monitors import MIN_SPREAD_WINDOWS
from tidegauge.spec import Condition, ModelSpec, MonitorSpec, RolloutSpec, Severity, duration

KEEP_FIRING_FOR = 7
"""Windows without drift before its alert resolves: a season comes and goes for weeks, and is one alert."""
LEVEL = 0.01
"""Of the windows without drift, those in which drift monitors may fire: each of several where limits are fixed, all of them
together where they come from the baseline."""
FEATURES, MISSING, SCORE = 0.5 * LEVEL, 0.4 * LEVEL, 0.1 * LEVEL
"""Their shares of it. A rise of missing values is looked for in few features, but comes in whole counts."""
LABEL = 0.1 * LEVEL
_ABOVE_AUTO = Condition("above", auto=True)


def default_rollout(spec: ModelSpec) -> RolloutSpec:
    """How versions seen together are compared where the spec does not say."""
    return RolloutSpec("rollout", max(spec.windows, key=duration))


def default_monitors(spec: ModelSpec, baseline: Baseline | None) -> tuple[MonitorSpec, ...]:
    """Schema breaks, missing and unseen values, drift, error ratio, performance against the baseline and the label
    feed. What breaks at once is judged on the shortest window, what is statistical on the longest; limits come from
    the baseline's window-to-window spread where it spans enough windows. Where it does not, performance is held against the
    baseline's own, and must be worse by more than its interval allows."""
    windows = sorted(spec.windows, key=duration)
    short, long = windows[0], windows[-1]
    spread = baseline.spread.get(long, {}) if baseline is not None else {}
    auto = any(of[2] >= MIN_SPREAD_WINDOWS for of in spread.values())

    def above(limit: float) -> Condition:
        return Condition("above", high=limit)

    def drift(name: str, group: str, share: float) -> MonitorSpec:
        metric, condition, level = ("shift", _ABOVE_AUTO, share) if auto else ("psi", above(0.2), LEVEL)
        return MonitorSpec(
            name, f"{group}.{metric}", long, condition, "warning", keep_firing_for=KEEP_FIRING_FOR, significance=level,
            critical_with_performance=True,
        )  # fmt: skip

    monitors = [
        MonitorSpec("missing-feature", "data.missing_features", short, above(0), "critical"),
        MonitorSpec("unexpected-feature", "data.unexpected_features", short, above(0), "warning"),
        MonitorSpec("type-mismatch", "data.features.*.type_mismatch_ratio", short, above(0.02), "critical"),
        MonitorSpec(
            "missing-values", "data.features.*.missing_ratio", short,
            Condition("above", high=0.05, relative_to_baseline=True, auto=True), "critical",
        ),
        MonitorSpec("unseen-values", "data.features.*.unseen_ratio", short, above(0.1), "warning"),
        MonitorSpec("out-of-range", "data.features.*.out_of_range_ratio", short, above(0.02), "warning"),
        MonitorSpec("error-ratio", "system.error_ratio", short, above(0.05), "critical"),
        drift("feature-drift", "data.features.*", FEATURES),
        drift("score-drift", "prediction", SCORE),
        MonitorSpec("label-feed", "label_feed.coverage_gap", long, above(0.25), "critical"),
    ]  # fmt: skip

    if auto:
        monitors.append(
            MonitorSpec(
                "missing-drift", "data.features.*.missing_shift", long, _ABOVE_AUTO, "warning",
                keep_firing_for=KEEP_FIRING_FOR, significance=MISSING,
            )
        )  # fmt: skip
        if spec.task != "regression":
            monitors.append(
                MonitorSpec(
                    "label-drift", "label_mix.shift", long, _ABOVE_AUTO, "warning",
                    keep_firing_for=KEEP_FIRING_FOR, significance=LABEL,
                )
            )  # fmt: skip

    def performance(name: str, metric: str, condition: Condition, severity: Severity = "critical") -> MonitorSpec:
        return MonitorSpec(name, metric, long, condition, severity, confidence=None if auto else 0.95)

    def worse(kind: Literal["above", "below"], share: float) -> Condition:
        if auto:
            return Condition(kind, auto=True)
        low, high = (None, share) if kind == "above" else (share, None)
        return Condition(kind, low, high, relative_to_baseline=True, percent=True)

    if spec.task == "regression":
        monitors.append(performance("rmse", "performance.rmse", worse("above", 0.2)))
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
        if auto:
            # How large a calibration error, or how many positives, is too many only their spread can say.
            monitors += [
                performance("calibration", "performance.ece", _ABOVE_AUTO, "warning"),
                MonitorSpec(
                    "positive-ratio", "prediction.positive_ratio", long, Condition("outside", auto=True), "warning",
                    critical_with_performance=True,
                ),
            ]  # fmt: skip
    return tuple(monitors)
