"""Computes the limits of a monitor: as given, relative to the baseline, or from how much the baseline's windows differ."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from scipy.special import ndtri, stdtrit

from tidegauge.baseline.baseline import MIN_SPREAD_WINDOWS, Baseline
from tidegauge.baseline.dispersion import BOUNDED
from tidegauge.baseline.scored import PERFORMANCE
from tidegauge.baseline.spread import Spread
from tidegauge.metrics.performance_z import RATIOS, skewness
from tidegauge.metrics.prediction_limits import reach
from tidegauge.metrics.shift import upper_quantile
from tidegauge.spec import Condition

_SAID = ("", " from window to window")


class Error(NamedTuple):
    """The standard error of a number, its degrees of freedom, and the skewness of the number's distribution."""

    error: float
    freedom: float
    skewness: float


class AllowedError(NamedTuple):
    """The error of a number, and the probability with which it may exceed each limit by chance; None if they are unknown, or if
    the condition has no ``level``."""

    error: Error | None = None
    level: float | None = None


class UsualValue(NamedTuple):
    """The usual value of a number, its standard deviation, and how many standard deviations below (``down``) and above (``up``)
    the ``auto`` limits are."""

    value: float
    deviation: float
    down: float
    up: float


class Limits(NamedTuple):
    """The lower and upper limit of a condition, None if it has none, and the condition in words."""

    low: float | None
    high: float | None
    text: str


def limits_of(
    condition: Condition, baseline: float | None, spread: Spread | None, error: Error | None = None,
    level: float | None = None,
) -> Limits | None:  # fmt: skip
    """The limits of a condition; None if it needs a baseline value that is missing. ``error``: the error of the number, used
    instead of its spread; ``level``: the probability with which it may exceed each limit by chance."""
    low, high = condition.low, condition.high
    of = ""
    if condition.relative_to_baseline:
        if baseline is None:
            return None
        scale = abs(baseline) if condition.percent else 1.0
        low = None if low is None else baseline - low * scale
        high = None if high is None else baseline + high * scale
        of = f" (baseline {baseline:.4g})"
    if condition.auto:
        usual = _usual(baseline, spread, error, level)
        if usual is None and low is None and high is None:
            return None
        if usual is not None:
            mean, deviation, down, up = usual
            away = down if condition.kind == "below" else up
            given = (low, high)
            if condition.kind in ("below", "outside"):
                low = min(mean - down * deviation, math.inf if low is None else low)
            if condition.kind in ("above", "outside"):
                high = max(mean + up * deviation, -math.inf if high is None else high)
            if (low, high) != given:
                of = f" (baseline {mean:.4g} ± {away:.2g} × {deviation:.2g}{_SAID[error is None]})"
    if condition.kind == "outside" and low is not None and high is not None:
        return Limits(low, high, f"outside {low:.4g} to {high:.4g}{of}")
    if condition.kind == "below":
        return Limits(low, None, f"below {low:.4g}{of}")
    return Limits(None, high, f"above {high:.4g}{of}")


def _usual(baseline: float | None, spread: Spread | None, error: Error | None, level: float | None) -> UsualValue | None:
    """The usual value, from the number's ``error`` or else from its ``spread``; None if neither is known well enough."""
    known = spread is not None and spread.windows >= MIN_SPREAD_WINDOWS
    if error is not None and baseline is not None and level is not None and (known or error.freedom >= MIN_SPREAD_WINDOWS - 1):
        deviation, freedom, skew = error
        score = float(-ndtri(level) if math.isinf(freedom) else -stdtrit(freedom, level))
        return UsualValue(baseline, deviation, upper_quantile(score, -skew), upper_quantile(score, skew))
    if spread is None or not known:
        return None
    mean, deviation, windows = spread
    away = reach(windows) if level is None else reach(windows, level)
    return UsualValue(mean, deviation, away, away)


def has_recovered(value: float, usual: float | None, margin: float | None, limits: Limits) -> bool:
    """Whether a number is back from its limits by ``margin`` (0 to 1) of the way to its ``usual`` value, which is 0 if it is
    None and the number has only an upper limit. False if neither holds, or there is no margin.

    >>> [has_recovered(value, 0.9, 0.5, Limits(0.8, None, "below 0.8")) for value in (0.84, 0.86)]
    [False, True]
    """
    low, high, _ = limits
    usual = 0.0 if usual is None and low is None else usual
    if usual is None or margin is None:
        return False
    is_low = low is not None and value < low + margin * (usual - low)
    return not (is_low or (high is not None and value > high + margin * (usual - high)))


def allowed_error(
    condition: Condition, value: float, path: str, numbers: Mapping[str, Any], baseline: Baseline, window: str,
    recent: bool = False,
) -> AllowedError:  # fmt: skip
    """The error of the number at ``path``, and the probability with which it may exceed each limit of a condition with a
    ``level``. The level is divided between both limits, and between the window alone and together with the previous one."""
    if condition.level is None:
        return AllowedError()
    ways = 2 if condition.kind == "outside" else 1
    level = condition.level / ways / (2 if _in_pairs(path, baseline, window) else 1)
    return AllowedError(_error(value, path, numbers, baseline, window, recent), level)


def _in_pairs(path: str, baseline: Baseline, window: str) -> bool:
    return path in baseline.spreads(window, recent=True) or (not baseline.spans_enough(window) and baseline.blocks is not None)


def _error(value: float, path: str, numbers: Mapping[str, Any], baseline: Baseline, window: str, recent: bool) -> Error | None:
    """The error of a performance number, increased if the baseline's windows differ more than that; None for other numbers."""
    name = path.rpartition(".")[2]
    z = numbers.get(PERFORMANCE, {}).get(name) if path == f"performance.{name}" else None
    before = baseline.metrics.get("performance", {}).get(name)
    if z is None or before is None:
        return None
    variance, freedom = baseline.dispersions(window, recent).factor(f"{PERFORMANCE}.{name}", numbers["predictions"])
    error = (abs((value - before) / z) if z else 0.0) * math.sqrt(variance)
    # In clustered data, the spread of a bounded loss already includes its worst windows, so no skewness is added.
    symmetric = name in BOUNDED and name not in RATIOS and math.isfinite(freedom)
    return Error(error, freedom, 0.0 if symmetric else skewness(name, before, error))
