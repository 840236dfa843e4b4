"""The monitors a spec gets that names none."""

from __future__ import annotations

from tidegauge.baseline import Baseline
from tidegauge.monitors import MIN_SPREAD_WINDOWS
from tidegauge.spec import Condition, ModelSpec, MonitorSpec, RolloutSpec, duration

KEEP_FIRING_FOR = 7
"""Windows without drift before its alert resolves: a season comes and goes for weeks, and is one alert."""
_ABOVE_AUTO = Condition("above", auto=True)
_BELOW_AUTO = Condition("below", auto=True)


def default_rollout(spec: ModelSpec) -> RolloutSpec:
    """How versions seen together are compared where the spec does not say."""
    return RolloutSpec("rollout", max(spec.windows, key=duration))


def default_monitors(spec: ModelSpec, baseline: Baseline | None) -> tuple[MonitorSpec, ...]:
    """Schema breaks, missing and unseen values, drift, error ratio, performance against the baseline and the label
    feed. What breaks at once is judged on the shortest window, what is statistical on the longest; limits come from
    the baseline's window-to-window spread where it spans enough windows."""
    windows = sorted(spec.windows, key=duration)
    short, long = windows[0], windows[-1]
    spread = baseline.spread.get(long, {}) if baseline is not None else {}
    auto = any(of[2] >= MIN_SPREAD_WINDOWS for of in spread.values())

    def above(limit: float) -> Condition:
        return Condition("above", high=limit)

    def drift(name: str, metric: str) -> MonitorSpec:
        condition = _ABOVE_AUTO if auto else above(0.2)
        return MonitorSpec(
            name, metric, long, condition, "warning", keep_firing_for=KEEP_FIRING_FOR, critical_with_performance=True
        )

    monitors = [
        MonitorSpec("missing-feature", "data.missing_features", short, above(0), "critical"),
        MonitorSpec("unexpected-feature", "data.unexpected_features", short, above(0), "warning"),
        MonitorSpec("type-mismatch", "data.features.*.type_mismatch_ratio", short, above(0.02), "critical"),
        MonitorSpec(
            "missing-values", "data.features.*.missing_ratio", short,
            Condition("above", high=0.1, relative_to_baseline=True), "critical",
        ),
        MonitorSpec("unseen-values", "data.features.*.unseen_ratio", short, above(0.1), "warning"),
        MonitorSpec("out-of-range", "data.features.*.out_of_range_ratio", short, above(0.02), "warning"),
        MonitorSpec("error-ratio", "system.error_ratio", short, above(0.05), "critical"),
        drift("feature-drift", "data.features.*.psi"),
        drift("score-drift", "prediction.psi"),
        MonitorSpec("label-feed", "label_feed.coverage_gap", long, above(0.25), "critical"),
    ]  # fmt: skip
    if spec.task == "regression":
        monitors.append(
            MonitorSpec(
                "rmse", "performance.rmse", long,
                _ABOVE_AUTO if auto else Condition("above", high=0.2, relative_to_baseline=True, percent=True),
                "critical",
            )
        )  # fmt: skip
    else:
        headline = "accuracy" if spec.task == "multiclass" else "roc_auc"
        loss = "log_loss" if spec.task == "multiclass" else "brier"
        monitors += [
            MonitorSpec(
                headline.replace("_", "-"), f"performance.{headline}", long,
                _BELOW_AUTO if auto else Condition("below", low=0.1, relative_to_baseline=True, percent=True),
                "critical",
            ),
            MonitorSpec(
                loss.replace("_", "-"), f"performance.{loss}", long,
                _ABOVE_AUTO if auto else Condition("above", high=0.25, relative_to_baseline=True, percent=True),
                "critical",
            ),
        ]  # fmt: skip
    return tuple(monitors)
