"""Tunes a detector to its budget of false alarms, by simulation with the baseline's own values.

Successive values resemble each other (during a storm, at night), which detectors made for independent values take for a change.
The values are therefore resampled in blocks of days, each of which begins at the phase of the week (with less data, of the day)
at which the previous one ended: a seasonal block bootstrap (Künsch 1989; Dudek et al. 2014). Data that do not span enough days
are resampled in blocks just long enough for their dependence; in longer blocks a rare pattern would be present or absent from
the start, so that its beginning would never be simulated. The result is the most sensitive parameter that raises no more alarms
in the simulated stream than the budget allows, with a margin of one standard error of the variance estimated from the values.
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
"""The simulated stream is long enough for the budget to allow this many alarms, so the rate is met within about a third."""
MIN_VALUES = 1000
VALUES_A_FALSE_ALARM = 20
"""A budget of one false alarm in N values needs a baseline of at least N divided by this many values."""
MIN_PERIODS = 8
"""Blocks keep to the phase of the week (or day) only if the data span at least this many weeks (or days)."""
BLOCKS = 20
"""Blocks are at most a twentieth of the data long, and blocks of days exactly that: long enough to preserve dependence, and
numerous enough to differ."""
WHOLE = 2.0
"""Blocks of values are this many times as long as is best for the variance of a mean, since alarms depend on longer runs."""
SHRINKAGE = 20.0
"""The mean of an hour is shrunk as if it had this many additional values, equal to the mean of its hour of the day or of
all."""
FOLDS = 5
CHUNK = 20_000


class TunedParameter(msgspec.Struct, frozen=True):
    """The parameter that determines how often a detector alarms. ``at``: its value for a strength between ``weakest`` and
    ``strongest``; higher strengths mean fewer alarms. ``rarest``: the lowest rate (alarms per value) that can be simulated in a
    minute."""

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
"""The search ends as soon as the strength is known within this factor."""


class Stream(msgspec.Struct, frozen=True):
    """The values (n) of one stream of a baseline, ordered by time, with their ``times`` (n, Unix seconds) and ``hours`` (n) of
    the week."""

    values: NDArray[np.float64]
    times: NDArray[np.float64]
    hours: NDArray[np.uint8]


def tune(detector: DetectorSpec, stream: Stream) -> Tuning:
    """Tune a detector with the baseline's values of its ``stream``. Raises BaselineError, with the reason, if that is
    impossible."""
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
    """The means of values (n) by hour of the day (24) or week (168), shrunk towards the mean of all values or, for hours of the
    week, of the hour of the day.

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
    """The residuals (n) of values from cycles that were computed without their own days, so that they are like the residuals of
    future values."""
    unit = np.searchsorted(cuts, np.arange(len(stream.values)), side="right")
    residuals = np.empty(len(stream.values))
    for fold in range(FOLDS):
        own = unit % FOLDS == fold
        cycle = cycle_of(stream.values[~own], stream.hours[~own], against)
        residuals[own] = stream.values[own] - cycle[stream.hours[own] % len(cycle)]
    return residuals


def _units(stream: Stream) -> tuple[NDArray[np.intp], int, bool]:
    """The index at which each unit begins (a unit is a day, or a small part of data that do not span enough days), the number
    of units in a cycle, and whether units are days."""
    days = np.floor(stream.times / 86400.0)
    count = int(days[-1] - days[0]) + 1
    if count >= MIN_PERIODS:
        return np.searchsorted(days, days[0] + np.arange(count)), 7 if count >= 7 * MIN_PERIODS else 1, True
    size = max(len(days) // (BLOCKS * 10), 1)
    return np.arange(0, len(days), size), 1, False


def resample(
    values: NDArray[np.float64], cuts: NDArray[np.intp], period: int, length: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw at least ``length`` values from ``values`` in blocks of whole units, each of which begins at the phase of the cycle
    at which the previous one ended. Units begin at ``cuts``; a cycle has ``period`` units."""
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
    """Draw ``length`` values from ``values`` in blocks of ``block`` successive values."""
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
        # The cycle is already subtracted from the values, so the detector must not subtract it again.
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
    # The variance estimated from n values in independent blocks of length b has a relative error of √(2 b / n).
    margin = 1 + math.sqrt(2 * best / len(values))
    tuned = with_strength(min(high * margin, knob.strongest))
    return msgspec.structs.replace(tuned, simulated=length, alarms=found)
