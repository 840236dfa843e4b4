"""Two versions of a model in one window: which quantities can be compared, and the contrast of each.

Where both versions answered the same requests, they are compared pair by pair, otherwise as two samples. Only means can be
compared like this, since only they add up over windows; for the AUC the windows' values are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegauge.metrics.scored_outcomes import scored_outcomes
from tidegauge.metrics.sequential import Contrast, Sample, paired, two_sample
from tidegauge.profile.data import DataProfile
from tidegauge.profile.kpi import is_derived
from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.pairs import Moments, PairProfile
from tidegauge.spec import Task

MIN_PAIRED_SHARE = 0.5
"""A window is compared by pairs if the champion answered at least this share of the challenger's requests."""


class Quantity(msgspec.Struct, frozen=True):
    """A quantity in which versions are compared. ``margin``: how much worse a challenger may be, as a share of the champion's
    value, or if ``absolute`` in the quantity's unit. ``binary``: it is a mean of zeros and ones. ``pair``: its name in a
    PairProfile, None where it is not compared pair by pair."""

    lower_is_better: bool
    margin: float
    absolute: bool = False
    binary: bool = False
    pair: str | None = None


BUSINESS = Quantity(False, 0.02)
QUANTITIES = {
    "performance.accuracy": Quantity(False, 0.01, binary=True, pair="right"),
    "performance.roc_auc": Quantity(False, 0.01),
    "performance.brier": Quantity(True, 0.02, pair="brier"),
    "performance.log_loss": Quantity(True, 0.02, pair="log_loss"),
    "performance.mae": Quantity(True, 0.02, pair="absolute"),
    "system.error_ratio": Quantity(True, 0.005, absolute=True, binary=True),
    "system.latency_ms.mean": Quantity(True, 0.1),
    "system.cost.mean": Quantity(True, 0.1),
}
"""The quantities by their paths in the record. In addition there is ``business.<KPI>.mean``."""
PERFORMANCE: dict[Task, tuple[str, ...]] = {
    "binary": ("performance.accuracy", "performance.brier", "performance.log_loss"),
    "multiclass": ("performance.accuracy", "performance.log_loss"),
    "regression": ("performance.mae",),
}
"""The performance metrics by which a challenger is judged unless the spec names others, by task."""
SYSTEM = ("system.error_ratio", "system.latency_ms.mean")


def quantity(path: str) -> Quantity | None:
    """The quantity at a metric ``path``; None if it cannot be compared."""
    if path.startswith("business.") and path.endswith(".mean"):
        return BUSINESS
    return QUANTITIES.get(path)


class Side(msgspec.Struct, frozen=True):
    """One version in one window."""

    data: DataProfile
    outcome: OutcomeProfile


def by_pairs(challenger: Side, pairs: PairProfile) -> bool:
    """Whether a window is compared pair by pair: both versions answered most of the challenger's requests."""
    return pairs.requests >= MIN_PAIRED_SHARE * challenger.data.predictions


def of_system(champion: Side, challenger: Side) -> dict[str, Contrast]:
    """The contrasts of errors, latency and cost, which need no labels. They are always compared as two samples."""
    found = {}
    sides = (champion.data, challenger.data)
    if all(data.predictions for data in sides):
        found["system.error_ratio"] = two_sample(*(_counted(data.predictions, data.errors) for data in sides))
    for path, name in (("system.latency_ms.mean", "latency_ms"), ("system.cost.mean", "cost")):
        samples = [_sample_of_results(data, name) for data in sides]
        if all(sample.count for sample in samples):
            found[path] = two_sample(*samples)
    return found


def of_outcomes(champion: Side, challenger: Side, pairs: PairProfile, swapped: bool, task: Task | None) -> dict[str, Contrast]:
    """The contrasts of performance and, if each request was answered by one version only, of KPIs. ``swapped``: whether the
    challenger comes first in ``pairs``, because its name sorts before the champion's."""
    sides = (champion.outcome, challenger.outcome)
    if by_pairs(challenger, pairs):
        found = _of_pairs(pairs, swapped, task)
        # Scores that are read differently from how they were paired are compared as two samples. For the same requests this is
        # conservative.
        alone = [(path, samples) for path, samples in _performance(sides, task) if path not in found]
    else:
        found, alone = {}, [*_performance(sides, task), *_business(sides)]
    found |= {path: two_sample(*samples) for path, samples in alone if all(sample.count for sample in samples)}
    if task in (None, "binary"):
        auc = _auc(sides)
        if auc is not None:
            found["performance.roc_auc"] = auc
    return found


def _of_pairs(pairs: PairProfile, swapped: bool, task: Task | None) -> dict[str, Contrast]:
    found = {}
    for path, of in QUANTITIES.items():
        name = "class_log_loss" if task == "multiclass" and of.pair == "log_loss" else of.pair
        moments: Moments | None = None if name is None else pairs.moments(name)
        if moments is not None:
            found[path] = paired(moments.swapped() if swapped else moments)
    return found


def _counted(count: float, successes: float) -> Sample:
    return Sample(count, successes, successes * (1.0 - successes / count) if count else 0.0)


def _summed(count: float, total: float, squares: float) -> Sample:
    return Sample(count, total, max(squares - total * total / count, 0.0) if count else 0.0)


def _sample_of_results(data: DataProfile, name: str) -> Sample:
    row = data.results.index(name)
    if row is None or not data.results.count[row]:
        return Sample(0.0, 0.0, 0.0)
    count = float(data.results.count[row])
    return Sample(count, float(data.results.mean[row]) * count, max(float(data.results.m2[row]), 0.0))


def _performance(sides: tuple[OutcomeProfile, ...], task: Task | None) -> Iterable[tuple[str, list[Sample]]]:
    if task in (None, "regression"):
        yield (
            "performance.mae",
            [_summed(of.sum("errors"), of.sum("absolute"), of.scaled_sum("squares")) for of in sides],
        )
    if task == "regression":
        return
    cells = [of.cells() for of in sides]
    yield (
        "performance.accuracy",
        [_counted(sum(n for _, _, n in of), sum(n for p, a, n in of if p == a)) for of in cells],
    )
    if task == "multiclass":
        name = "class_log_loss"
        yield (
            "performance.log_loss",
            [_summed(of.sum(f"{name}_count"), of.sum(name), of.sum(f"{name}_squares")) for of in sides],
        )
        return
    scored = [(of, found.outcomes, found.fourths) for of, found in zip(sides, scored_outcomes(sides), strict=True)]
    yield "performance.brier", [_summed(n, of.sum("brier"), fourths) for of, n, fourths in scored]
    yield "performance.log_loss", [_summed(n, of.sum("log_loss"), of.sum("log_loss_squares")) for of, n, _ in scored]


def _business(sides: tuple[OutcomeProfile, ...]) -> Iterable[tuple[str, list[Sample]]]:
    kpis = {name.removeprefix("kpi_count:") for name in sides[0].sums if name.startswith("kpi_count:")}
    for kpi in sorted(kpi for kpi in kpis if not is_derived(kpi)):
        yield (
            f"business.{kpi}.mean",
            [
                _summed(of.sum(f"kpi_count:{kpi}"), of.sum(f"kpi_sum:{kpi}"), of.scaled_sum(f"kpi_squares:{kpi}"))
                for of in sides
            ],
        )


def _auc(sides: tuple[OutcomeProfile, ...]) -> Contrast | None:
    """The contrast of two AUCs, weighted by the sizes of the samples, with DeLong's variances. If both versions scored the same
    requests, their AUCs are correlated and these variances too large, so the comparison is conservative."""
    found: list[tuple[float, float, float]] = []
    for of in scored_outcomes(sides):
        if of.auc is None or of.auc_variance is None:
            return None
        found.append((float(of.outcomes), of.auc, of.auc_variance))
    (n, first, of_first), (m, second, of_second) = found
    weight = n * m / (n + m)
    # The spreads hold the variances of the AUCs; scatter and freedom are 1, so that they have no effect.
    return Contrast(
        weight, weight * first, weight * second, weight**2 * of_first, weight**2 * of_second, 0.0,
        1.0, 1.0, 0.0, 1.0, 1.0, 0.0, n, m,
    )  # fmt: skip
