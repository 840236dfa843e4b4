"""The parameter that keeps a detector within its budget of false alarms, found by simulation on the baseline's own values.

Values that follow each other are alike (a storm, a night), and detectors built for independent values take that for change.
So the values are resampled in blocks of days, each beginning at the phase of the week (with less data, of the day) at which
the one before ended: a seasonal block bootstrap (Künsch 1989; Dudek et al. 2014). Data that do not span enough days are
resampled in blocks that are just long enough for their dependence: in longer blocks a rare pattern would be present or absent
from the start, and never be seen to begin. Then the most sensitive parameter is sought that raises no more alarms in the
simulated stream than the budget allows, less one standard error for what so few values leave unknown of their variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline.tuning import Tuning, budget_text
from tidegauge.detect.block_length import block_length
from tidegauge.detect.detectors import Detector
from tidegauge.detect.value_streams import HOURS
from tidegauge.errors import BaselineError
from tidegauge.spec import Against, DetectorSpec

ALLOWED_ALARMS = 10
"""The simulated stream is so long that the budget allows this many alarms in it: the rate is met within a third."""
MIN_VALUES = 1000
VALUES_A_FALSE_ALARM = 20
"""A budget may reach this many times as far as the baseline has values."""
MIN_PERIODS = 8
"""So many weeks (or days) must there be before blocks keep to the phase of the week (or day)."""
BLOCKS = 20
"""Blocks of days are a twentieth of the data long: long enough to carry dependence, enough to differ; none is longer."""
WHOLE = 2.0
"""Blocks of values are so many times as long as is best for the variance of a mean: an alarm takes dependence unbroken."""
SHRINKAGE = 20.0
"""An hour's mean counts as if it had this many more values, of the mean of its hour of the day, or of all."""
FOLDS = 5
CHUNK = 20_000


class TunedParameter(msgspec.Struct, frozen=True):
    """The parameter that decides how often a detector alarms. ``at`` gives its value for a strength between ``weakest`` and
    ``strongest``: the stronger, the fewer alarms. ``rarest``: the fewest alarms a value that can be simulated in a minute."""

    parameter: str
    at: Callable[[float], float]
    weakest: float
    strongest: float
    rarest: float


def _probability(strength: float) -> float:
    return math.exp(-strength)


TUNED_PARAMETERS = {
    "adwin": TunedParameter("delta", _probability, 0.1, 690.0, 1 / 300_000),
    "page_hinkley": TunedParameter("threshold", float, 1e-6, 1e9, 1 / 300_000),
    "kswin": TunedParameter("alpha", _probability, 0.7, 690.0, 1 / 2_000),
    "ddm": TunedParameter("drift_threshold", float, 1.0, 1e3, 1 / 300_000),
    "eddm": TunedParameter("beta", lambda strength: 1.0 - strength, 1e-4, 0.9999, 1 / 300_000),
    "hddm_a": TunedParameter("drift_confidence", _probability, 0.1, 690.0, 1 / 100_000),
    "hddm_w": TunedParameter("drift_confidence", _probability, 0.1, 690.0, 1 / 100_000),
}
PRECISION = 1.02
"""The search ends when the strength is known within this factor."""


class Stream(msgspec.Struct, frozen=True):
    """A baseline's values (n) of one stream in the order of time, with their ``times`` (n, Unix seconds) and ``hours`` (n)
    of the week."""

    values: NDArray[np.float64]
    times: NDArray[np.float64]
    hours: NDArray[np.uint8]


def tune(detector: DetectorSpec, stream: Stream) -> Tuning:
    """The tuning of a detector by the baseline's values of its ``stream``. Raises BaselineError, with the reason, where it
    cannot."""
    count = len(stream.values)
    name = f"detector {detector.name!r}"
    if not count:
        labels = ", since they have no labels" if detector.stream in ("error", "abs_error") else ""
        raise BaselineError(f"{name}: the reference data hold nothing of the stream {detector.stream}{labels}")
    wanted = MIN_VALUES
    if detector.false_alarms is not None:
        wanted = max(wanted, round(1 / detector.false_alarms / VALUES_A_FALSE_ALARM))
    if count < wanted:
        raise BaselineError(
            f"{name}: {count} values of {detector.stream} are too few, at least {wanted} are needed; "
            "take more reference data, or a looser budget"
        )
    cuts, period, by_days = _units(stream)
    cycle: tuple[float, ...] = ()
    values = stream.values
    if detector.against is not None:
        if np.ptp(stream.times) < 86400.0 * (7 if detector.against == "hour_of_week" else 1):
            raise BaselineError(f"{name}: the reference data do not span the cycle {detector.against}; take a longer time")
        cycle = tuple(cycle_of(values, stream.hours, detector.against).tolist())
        values = _out_of_fold(stream, cuts, detector.against)
    tuning = Tuning(
        detector.stream, detector.algorithm, count, detector.parameters, detector.false_alarms, detector.against, cycle
    )
    return tuning if detector.false_alarms is None else _calibrate(detector, tuning, values, cuts, period, by_days)


def cycle_of(values: NDArray[np.float64], hours: NDArray[np.uint8], against: Against) -> NDArray[np.float64]:
    """Mean of values (n) by hour of the day (24) or week (168), shrunk towards that of the hour of the day, or of all.

    >>> cycle_of(np.array([0.0, 1.0] * 500), np.array([0, 1] * 500, np.uint8), "hour_of_day")[:3].round(2).tolist()
    [0.02, 0.98, 0.5]
    """
    size, parent = 24, np.full(24, values.mean())
    if against == "hour_of_week":
        size, parent = HOURS, np.tile(cycle_of(values, hours, "hour_of_day"), 7)
    place = hours % size
    sums, counts = np.bincount(place, values, size), np.bincount(place, minlength=size)
    return np.asarray((sums + SHRINKAGE * parent) / (counts + SHRINKAGE))


def _out_of_fold(stream: Stream, cuts: NDArray[np.intp], against: Against) -> NDArray[np.float64]:
    """Residuals (n) from cycles that the values' own days had no part in, as will be those of values to come."""
    unit = np.searchsorted(cuts, np.arange(len(stream.values)), side="right")
    residuals = np.empty(len(stream.values))
    for fold in range(FOLDS):
        own = unit % FOLDS == fold
        cycle = cycle_of(stream.values[~own], stream.hours[~own], against)
        residuals[own] = stream.values[own] - cycle[stream.hours[own] % len(cycle)]
    return residuals


def _units(stream: Stream) -> tuple[NDArray[np.intp], int, bool]:
    """Where each unit (a day, or a small part of data that do not span enough days) begins, after how many the phase of
    the cycle comes round again, and whether units are days."""
    days = np.floor(stream.times / 86400.0)
    count = int(days[-1] - days[0]) + 1
    if count >= MIN_PERIODS:
        return np.searchsorted(days, days[0] + np.arange(count)), 7 if count >= 7 * MIN_PERIODS else 1, True
    size = max(len(days) // (BLOCKS * 10), 1)
    return np.arange(0, len(days), size), 1, False


def resample(
    values: NDArray[np.float64], cuts: NDArray[np.intp], period: int, length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """At least ``length`` values, drawn from ``values`` in blocks of whole units, each of which begins at the phase of the
    cycle at which the one before ended. Units begin at ``cuts``, ``period`` of them are a cycle."""
    bounds = np.append(cuts, len(values))
    block = max(len(cuts) // BLOCKS, 1)
    starts = np.arange(len(cuts) - block + 1)
    by_phase = [starts[starts % period == phase] for phase in range(period)]
    parts, held, phase = [], 0, 0
    while held < length:
        start = int(rng.choice(by_phase[phase]))
        part = values[bounds[start] : bounds[start + block]]
        parts.append(part)
        held += len(part)
        phase = (start + block) % period
    return np.concatenate(parts)


def resample_values(values: NDArray[np.float64], block: int, length: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """``length`` values, drawn from ``values`` in blocks of so many that follow each other."""
    starts = rng.integers(0, len(values) - block + 1, -(-length // block))
    return np.asarray(values[(starts[:, None] + np.arange(block)).ravel()[:length]])


def _calibrate(
    detector: DetectorSpec, tuning: Tuning, values: NDArray[np.float64], cuts: NDArray[np.intp], period: int, by_days: bool
) -> Tuning:
    assert detector.false_alarms is not None
    knob = TUNED_PARAMETERS[detector.algorithm]
    length = math.ceil(ALLOWED_ALARMS / detector.false_alarms)
    best, rng = block_length(values, len(values) / BLOCKS), np.random.default_rng(1)
    if by_days:
        simulated = resample(values, cuts, period, length, rng)[:length]
    else:
        simulated = resample_values(values, min(round(WHOLE * best), len(values) // BLOCKS), length, rng)

    def with_strength(strength: float) -> Tuning:
        return msgspec.structs.replace(tuning, calibrated={knob.parameter: knob.at(strength)})

    def alarms(strength: float) -> int:
        # The cycle is off already: only the calibrated parameter is needed here.
        fed = Detector(detector, tuning=msgspec.structs.replace(with_strength(strength), cycle=()))
        count = 0
        for start in range(0, length, CHUNK):
            count += len(fed.update(simulated[start : start + CHUNK]))
            if count > ALLOWED_ALARMS:
                break
        return count

    low, high = knob.weakest, knob.strongest
    least = found = alarms(high)
    if least > ALLOWED_ALARMS:
        raise BaselineError(
            f"detector {detector.name!r}: {detector.algorithm} alarms more often than {budget_text(detector.false_alarms)} on "
            f"the baseline's own values of {detector.stream}, however it is set; choose adwin or page_hinkley, compare against "
            "a cycle, or allow more"
        )
    while high / low > PRECISION:
        middle = math.sqrt(low * high)
        count = alarms(middle)
        if count > ALLOWED_ALARMS:
            low = middle
        else:
            high, found = middle, count
    # From n values in independent blocks of b the variance is known with a relative error of √(2 b / n).
    margin = 1 + math.sqrt(2 * best / len(values))
    tuned = with_strength(min(high * margin, knob.strongest))
    return msgspec.structs.replace(tuned, simulated=length, alarms=found)
