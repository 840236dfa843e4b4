"""Business KPIs: sums, means, winsorised means and ratios, their intervals, and their change from the baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
from scipy.special import ndtri, stdtrit

from tidegauge.metrics import interval
from tidegauge.metrics.interval import LEVEL, Interval
from tidegauge.profile.kpi import DENOMINATOR, LEFT_OUT, MAX_NAMES, MOVED, NUMERATOR, PRODUCT, WINSORISED, is_derived
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.spec import KpiSpec


class Estimate(msgspec.Struct, frozen=True):
    """A mean or ratio over ``count`` rows, and its sampling variance."""

    value: float
    variance: float
    count: float


def business(
    outcome: OutcomeProfile, kpis: Mapping[str, KpiSpec], baseline: OutcomeProfile | None, level: float = LEVEL
) -> dict[str, dict[str, Any]]:
    """The member ``business`` of a record: the numbers of each KPI and, under ``interval``, their intervals."""
    numbers = {kpi: _mean(outcome, kpi, baseline, level) for kpi in _commonest(outcome)}
    for kpi in kpis:
        ratio = ratio_of(outcome, kpi)
        if ratio is not None:
            numbers[kpi] = _ratio(ratio, None if baseline is None else ratio_of(baseline, kpi), level)
    return dict(sorted(numbers.items()))


def _commonest(outcome: OutcomeProfile) -> list[str]:
    """The KPIs that have values, at most the MAX_NAMES with the most values."""
    counts = {
        kpi: units for name, units in outcome.sums.items()
        if name.startswith("kpi_count:") and not is_derived(kpi := name.removeprefix("kpi_count:")) and units > 0
    }  # fmt: skip
    return sorted(counts, key=lambda kpi: (-counts[kpi], kpi))[:MAX_NAMES]


def kpi_values_left_out(outcome: OutcomeProfile) -> int:
    """How many values of KPIs are not in the record, because the model has too many KPIs."""
    left_out = outcome.sum(f"kpi_sum:{LEFT_OUT}")
    further = [name for name in outcome.sums if name.startswith("kpi_count:")]
    shown = set(_commonest(outcome)) if further else set()
    for name in further:
        kpi = name.removeprefix("kpi_count:")
        if not is_derived(kpi) and kpi not in shown:
            left_out += outcome.sum(name)
    return round(left_out)


def business_intervals(
    outcome: OutcomeProfile, kpis: Mapping[str, KpiSpec], baseline: OutcomeProfile | None, level: float
) -> dict[str, dict[str, Interval]]:
    """The intervals at ``level`` by KPI and name of the number."""
    return {kpi: of.get("interval", {}) for kpi, of in business(outcome, kpis, baseline, level).items()}


def _mean(outcome: OutcomeProfile, kpi: str, baseline: OutcomeProfile | None, level: float) -> dict[str, Any]:
    estimate = mean_of(outcome, kpi)
    assert estimate is not None
    numbers: dict[str, Any] = {
        "sum": outcome.sum(f"kpi_sum:{kpi}"), "mean": estimate.value, "count": round(estimate.count),
    }  # fmt: skip
    intervals = {"mean": _interval_of_mean(outcome, kpi, level)}
    cut = mean_of(outcome, kpi + WINSORISED)
    if cut is not None:
        numbers["winsorised_mean"] = cut.value
        numbers["winsorised_ratio"] = outcome.sum(f"kpi_sum:{kpi}{MOVED}") / cut.count
        intervals["winsorised_mean"] = _interval_of_mean(outcome, kpi + WINSORISED, level)
    _relate(numbers, intervals, estimate, None if baseline is None else mean_of(baseline, kpi), level)
    return _with(numbers, intervals)


def _ratio(ratio: Estimate, before: Estimate | None, level: float) -> dict[str, Any]:
    numbers: dict[str, Any] = {"ratio": ratio.value, "count": round(ratio.count)}
    intervals: dict[str, Interval | None] = {}
    if ratio.count >= 2:
        reach = float(stdtrit(ratio.count - 1, 0.5 + level / 2)) * math.sqrt(ratio.variance)
        intervals["ratio"] = Interval(ratio.value - reach, ratio.value + reach)
    _relate(numbers, intervals, ratio, before, level)
    return _with(numbers, intervals)


def _with(numbers: dict[str, Any], intervals: Mapping[str, Interval | None]) -> dict[str, Any]:
    known = {name: of for name, of in intervals.items() if of is not None and of.is_finite()}
    return numbers | ({"interval": known} if known else {})


def _interval_of_mean(outcome: OutcomeProfile, kpi: str, level: float) -> Interval | None:
    total, count = outcome.sum(f"kpi_sum:{kpi}"), outcome.sum(f"kpi_count:{kpi}")
    return interval.mean(total, outcome.scaled_sum(f"kpi_squares:{kpi}"), count, level)


def mean_of(outcome: OutcomeProfile, kpi: str) -> Estimate | None:
    """The mean of a KPI's values; None if there are none."""
    count, total = outcome.sum(f"kpi_count:{kpi}"), outcome.sum(f"kpi_sum:{kpi}")
    if count <= 0:
        return None
    squares = outcome.scaled_sum(f"kpi_squares:{kpi}")
    return Estimate(total / count, interval.variance_of_mean(total, squares, count) if count > 1 else math.inf, count)


def ratio_of(outcome: OutcomeProfile, kpi: str) -> Estimate | None:
    """The ratio of the sums of two KPIs over the requests that have both, with its variance by the delta method (Cochran 1977,
    section 2.11); None if there are no such requests or if the denominator is 0."""
    count, above, below = (
        outcome.sum(f"kpi_{part}:{kpi}{ending}")
        for part, ending in (("count", PRODUCT), ("sum", NUMERATOR), ("sum", DENOMINATOR))
    )
    if count <= 0 or below == 0:
        return None
    ratio = above / below
    if count < 2:
        return Estimate(ratio, math.inf, count)
    squares, other = (outcome.scaled_sum(f"kpi_squares:{kpi}{ending}") for ending in (NUMERATOR, DENOMINATOR))
    rest = max(squares - 2 * ratio * outcome.sum(f"kpi_sum:{kpi}{PRODUCT}") + ratio * ratio * other, 0.0)
    return Estimate(ratio, rest / (count - 1) * count / below / below, count)


def _relate(
    numbers: dict[str, Any], intervals: dict[str, Interval | None], now: Estimate, before: Estimate | None, level: float
) -> None:
    """Add ``relative_to_baseline``, the change as a share of the baseline's value, and its interval: that of the ratio of two
    independent estimates, computed for the logarithm (delta method) from the errors of both."""
    if before is None or before.value <= 0:
        return
    change = now.value / before.value
    numbers["relative_to_baseline"] = change - 1
    if now.value > 0:
        relative = now.variance / now.value**2 + before.variance / before.value**2
        factor = math.exp(min(float(ndtri(0.5 + level / 2)) * math.sqrt(relative), 700.0))
        intervals["relative_to_baseline"] = Interval(change / factor - 1, change * factor - 1)
