"""Decides a comparison of two versions: promote the challenger, keep watching, or roll it back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from tidegauge.judge.metric_names import names
from tidegauge.metrics.comparison import PERFORMANCE, QUANTITIES, SYSTEM, quantity
from tidegauge.metrics.interval import Interval
from tidegauge.metrics.sequential import Contrast, half_width, mcnemar_p_value, p_value
from tidegauge.spec import RolloutSpec, Task

Decision = Literal["promote", "keep watching", "roll back"]
Judgement = Literal["worse", "not worse", "better", "open"]


class Compared(msgspec.Struct, frozen=True):
    """One metric of both versions, over all windows so far.

    ``difference``: the challenger's value minus the champion's. ``interval``: the confidence sequence of the difference in
    the metric's unit, at this metric's share of the family-wise level. ``margin``: how much worse the challenger may be, in
    the same unit. ``p_value``: the always-valid p-value of the hypothesis that there is no difference. ``judgement``: whether
    the challenger is worse by more than the margin, not worse, better, or whether that is still open.
    """

    champion: float
    challenger: float
    difference: float
    interval: Interval
    p_value: float
    paired: bool
    champion_count: int
    challenger_count: int
    lower_is_better: bool
    margin: float
    judgement: Judgement
    excess: float
    """How far the difference lies beyond the margin, in half widths of the interval: above 1 is worse, below -1 not worse."""


class Finding(msgspec.Struct, frozen=True):
    """The decision on a challenger, the reason in words, and the ``path`` of the metric that decided."""

    decision: Decision
    reason: str
    path: str | None
    compared: dict[str, Compared]


def judge(contrasts: Mapping[str, Contrast], spec: RolloutSpec, task: Task | None, champion: str) -> Finding:
    """Decide from those of ``contrasts`` (by metric path) that the spec names as deciding metrics.

    The error probability is divided among the metrics (Bonferroni). A challenger is rolled back as soon as one metric is
    certainly worse than the champion's by more than the margin, and may be promoted once all are certainly not.
    """
    wanted = _wanted(contrasts, spec, task)
    level = spec.significance / max(len(wanted), 1)
    compared = {path: compare(path, contrasts[path], spec, level) for path in wanted if path in contrasts}
    worse = [path for path, of in compared.items() if of.judgement == "worse"]
    if worse:
        path = max(worse, key=lambda path: compared[path].excess)
        return Finding("roll back", _sentence(path, compared[path], champion), path, compared)
    missing = [path for path in wanted if path not in compared and path != "system.latency_ms.mean"]
    if spec.metrics is None and not any(path.startswith("performance.") for path in compared):
        missing = missing or ["performance"]
    if missing:
        return Finding("keep watching", f"nothing is known yet of {', '.join(missing)}", None, compared)
    still_open = [path for path, of in compared.items() if of.judgement == "open"]
    if still_open:
        path = max(still_open, key=lambda path: compared[path].excess)
        return Finding("keep watching", _sentence(path, compared[path], champion), path, compared)
    better = [path for path, of in compared.items() if of.judgement == "better"]
    reason = f"no metric is worse than that of {champion} by more than its margin"
    closest = max(compared, key=lambda path: compared[path].excess, default=None)
    return Finding("promote", reason + (f", and {', '.join(better)} is better" if better else ""), closest, compared)


def _wanted(contrasts: Mapping[str, Contrast], spec: RolloutSpec, task: Task | None) -> list[str]:
    """The paths of the deciding metrics, whether or not there are values of them yet."""
    if spec.metrics is None:
        performance = PERFORMANCE[task] if task is not None else tuple(p for p in contrasts if p.startswith("performance."))
        return [*performance, *SYSTEM, *sorted(path for path in contrasts if path.startswith("business."))]
    found: list[str] = []
    for pattern in spec.metrics:
        found += [pattern] if "*" not in pattern else sorted(path for path in contrasts if names(pattern, path))
    return list(dict.fromkeys(found))


def compare(path: str, contrast: Contrast, spec: RolloutSpec, level: float) -> Compared:
    """Compare one metric at ``level``, its share of the family-wise level."""
    of = quantity(path) or QUANTITIES["performance.accuracy"]
    lower = of.lower_is_better or any(names(pattern, path) for pattern in spec.lower_is_better)
    sign = 1.0 if lower else -1.0
    weight = contrast.weight
    first, second = contrast.first / weight, contrast.second / weight
    variance = contrast.variance(1.0, of.binary)
    reach = half_width(weight, variance, level)
    amount, absolute = of.margin, of.absolute
    if spec.margin is not None and (spec.margin_absolute or not of.absolute):
        amount, absolute = spec.margin, spec.margin_absolute
    if absolute:
        margin, harm, harm_reach = amount, sign * (second - first) - amount, reach
    else:
        # A relative margin is a share of the champion's value, which is itself uncertain.
        factor = 1.0 + sign * math.copysign(amount, first)
        margin, harm = amount * abs(first), sign * (second - factor * first)
        harm_reach = half_width(weight, contrast.variance(factor, of.binary), level)
    if of.binary and contrast.paired:
        p = mcnemar_p_value(contrast.only_first, contrast.only_second)
    else:
        p = p_value(second - first, weight, variance)
    judgement: Judgement = "open"
    if min(contrast.count_first, contrast.count_second) >= spec.min_count:
        if harm > harm_reach:
            judgement = "worse"
        elif sign * (second - first) < -reach:
            judgement = "better"
        elif harm < -harm_reach:
            judgement = "not worse"
    return Compared(
        first, second, second - first, Interval(second - first - reach, second - first + reach), p, contrast.paired,
        round(contrast.count_first), round(contrast.count_second), lower, margin, judgement,
        harm / harm_reach if harm_reach > 0 else math.copysign(math.inf, harm),
    )  # fmt: skip


def _sentence(path: str, of: Compared, champion: str) -> str:
    low, high = of.interval
    rests = (
        f"{of.challenger_count} requests of both" if of.paired
        else f"{of.champion_count} and {of.challenger_count} values"
    )  # fmt: skip
    return (
        f"{path} is {of.challenger:.4g} against {of.champion:.4g} of {champion}: the difference lies between {low:.3g} and "
        f"{high:.3g}, and {of.margin:.2g} is tolerated ({rests})"
    )
