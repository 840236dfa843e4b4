"""Drift of numeric and categorical features from their baseline: distances between distributions, the tails, and p-values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from tidegauge.baseline.baseline import RESULT_BINS, Baseline
from tidegauge.baseline.binning import BinCounts, counts_in
from tidegauge.baseline.contrasts import Contrasts
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.baseline.scored import RATIO
from tidegauge.metrics import distance
from tidegauge.metrics.drift_columns import ReferenceColumns, binned_drifts, jensen_shannons, side_by_side
from tidegauge.metrics.prediction_limits import spread_p_value
from tidegauge.metrics.shift import number_shift
from tidegauge.metrics.shift_columns import factors_of, number_shifts
from tidegauge.profile.category import OTHER, CategorySummary
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.schema import ATTRIBUTION, MISSING, Bins


class Against(msgspec.Struct, frozen=True):
    """The baseline that a window is compared with, and what the comparison needs to know of the window. ``window``: the name of
    its length, None for a part of the reference data itself; ``rows``: its number of predictions; ``recent``: whether it is
    taken together with the previous window."""

    baseline: Baseline
    window: str | None
    rows: int
    recent: bool = False

    @property
    def dispersions(self) -> Dispersions | None:
        """How much the baseline's own windows of this length vary; None for parts of the reference data."""
        return None if self.window is None else self.baseline.dispersions(self.window, self.recent)


class Compared(msgspec.Struct, frozen=True):
    """The ``current`` counts (B) of one feature in ``bins``, and those ``before``, in the reference. ``exact``: whether both
    were counted in these bins; ``known``: whether they could at least be derived from sketches. ``distances``: those that are
    not computed from bins."""

    bins: Bins
    current: NDArray[np.int64]
    before: NDArray[np.int64]
    exact: bool
    known: bool
    distances: dict[str, Any]


def number_drift(
    block: NumericBlock, row: int, reference: NumericBlock, reference_name: str, against: Against, name: str, path: str
) -> dict[str, Any]:
    """All distances of one numeric feature, row ``row`` of ``block``, from ``reference_name`` in ``reference``. ``name``: the
    name of its bins in the baseline's schema; ``path``: the place of the result in a record.

    In the result ``bins`` is "sketch" if the counts were derived from a quantile sketch. The p-value is then that of KS, which
    allows for the error of the sketch, and the tails are left out. Without a sketch of the reference there is neither KS nor
    Wasserstein, except for a feature with few values, whose counts give both exactly.
    """
    of = _compared(block, row, reference, reference_name, against.baseline, name)
    if of is None:
        return {}
    if not of.exact:
        return _by_sketch(of)
    numbers = of.distances | binned_drift(_gather(of.current, of.bins.deciles), _gather(of.before, of.bins.deciles))
    numbers |= _tails(of.current, of.before, of.bins)
    held = contrasts(against.baseline, name)
    if held is not None:
        numbers |= number_shift(of.current, held, path, against.dispersions, against.rows)
    return numbers


def number_drifts(block: NumericBlock, names: Mapping[str, int], against: Against) -> dict[str, dict[str, Any]]:
    """``number_drift`` for many features. ``names``: the row in ``block`` by feature. Features with exact counts are computed
    together."""
    found: dict[str, dict[str, Any]] = {}
    exact: dict[str, Compared] = {}
    baseline = against.baseline
    for name, row in names.items():
        of = _compared(block, row, baseline.data.features, name, baseline, name)
        if of is not None and of.exact:
            exact[name] = of
        elif of is not None:
            found[name] = _by_sketch(of)
    if not exact:
        return found
    columns = reference_columns(baseline, tuple(exact))
    assert columns is not None, "both sides are counted exactly"
    counts = side_by_side([of.current for of in exact.values()])
    paths = [f"data.features.{name}" for name in exact]
    shifts = number_shifts(counts, columns.contrasts, factors_of(paths, against.dispersions, against.rows))
    for (name, of), drift, shift in zip(exact.items(), columns.drifts(counts), shifts, strict=True):
        found[name] = of.distances | drift | shift
    return found


def reference_columns(baseline: Baseline, names: tuple[str, ...]) -> ReferenceColumns | None:
    """The columns of the baseline's features with these names, which must have values; None if any of them is not counted
    exactly."""
    if names not in baseline.columns:
        bins = [baseline.schema.bins[name] for name in names]
        before = [_counts_before(baseline, name) for name in names]
        counts = [of.counts for of in before if of is not None and of.exact]
        exact = len(counts) == len(names)
        baseline.columns[names] = ReferenceColumns(bins, counts, Contrasts.of_many(counts, bins)) if exact else None
    found: ReferenceColumns | None = baseline.columns[names]
    return found


def _compared(
    block: NumericBlock, row: int, reference: NumericBlock, reference_name: str, baseline: Baseline, name: str
) -> Compared | None:
    """One feature and its reference, with arguments as in ``number_drift``; None if either has no values."""
    place = reference.index(reference_name)
    if place is None or not reference.count[place] or not block.count[row]:
        return None
    bins = baseline.schema.bins[name]
    current, exact = counts_in(block, row, name, baseline.schema)
    before, reference_exact = counts_in(reference, place, name, baseline.schema)
    exact = exact and reference_exact
    numbers: dict[str, Any] = {}
    error, known = 0.0, exact
    if exact and bins.rest is None:
        numbers |= distance.distances_of_values(current, before, bins)
    if "wasserstein" not in numbers:
        theirs = reference.values.sketch(place)
        ours = None if theirs is None else block.values.sketch(row)
        known = exact or ours is not None
        if ours is not None:
            error = 0.0 if numbers else distance.rank_error(ours) + distance.rank_error(theirs)
            numbers = distance.sketch_distances(ours, theirs)._asdict() | numbers
    if "ks" in numbers:
        n, m = int(block.count[row]), int(reference.count[place])
        if min(n, m) >= distance.MIN_TESTED:
            numbers["ks_p_value"] = distance.ks_p_value(numbers["ks"], n, m, error)
    return Compared(bins, current, before, exact, known, numbers)


def _by_sketch(of: Compared) -> dict[str, Any]:
    numbers = dict(of.distances)
    if not of.known:
        return numbers
    numbers |= binned_drift(_gather(of.current, of.bins.deciles), _gather(of.before, of.bins.deciles))
    numbers["bins"] = "sketch"
    numbers.pop("p_value", None)
    if "ks_p_value" in numbers:
        numbers["p_value"] = numbers["ks_p_value"]
    return numbers


def contrasts(baseline: Baseline, name: str) -> Contrasts | None:
    """The contrasts of the feature ``name`` of the baseline's schema; None if its counts are not exact."""
    if name not in baseline.contrasts:
        before = _counts_before(baseline, name)
        if before is None or not before.exact:
            return None
        baseline.contrasts[name] = Contrasts(before.counts, baseline.schema.bins[name])
    return baseline.contrasts[name]


def _counts_before(baseline: Baseline, name: str) -> BinCounts | None:
    """The reference's counts of the feature ``name`` of the baseline's schema; None if the reference does not have it."""
    block, source = baseline.data.features, name
    if name in RESULT_BINS:
        block, source = baseline.data.results, RESULT_BINS[name]
    elif name.startswith(ATTRIBUTION):
        block, source = baseline.data.attributions.values, name.removeprefix(ATTRIBUTION)
    row = block.index(source)
    return None if row is None else counts_in(block, row, name, baseline.schema)


class MissingCount(NamedTuple):
    """The number of missing values, and the number of events."""

    missing: int
    total: int


def missing_before(name: str, baseline: Baseline) -> MissingCount:
    """The number of missing values of a feature in the reference."""
    data = baseline.data
    row, category = data.features.index(name), data.categories.get(name)
    values, missing = (0, 0) if row is None else (int(data.features.count[row]), int(data.features.missing[row]))
    if category is not None and category.count > values:
        values, missing = category.count, category.missing
    return MissingCount(missing, values + missing)


def _gather(counts: NDArray[np.int64], places: NDArray[np.intp]) -> NDArray[np.int64]:
    """Counts (B) summed in coarser bins (C). ``places`` (B): the coarser bin of each bin."""
    return np.bincount(places, counts, int(places.max()) + 1).astype(np.int64)


def _tails(current: NDArray[np.int64], before: NDArray[np.int64], bins: Bins) -> dict[str, Any]:
    """Drift in the two outer tenths, which deciles do not resolve: the PSI over bins that divide only these, its p-value, and
    the shares of values at or above the baseline's 99th percentile and below its 1st."""
    found = binned_drift(_gather(current, bins.tails), _gather(before, bins.tails))
    numbers = {f"tail_{name}": found[name] for name in ("psi", "p_value") if name in found}
    values = int(current.sum() - current[MISSING])
    numbers["above_p99_ratio"] = int(current[bins.upper].sum()) / values
    numbers["below_p01_ratio"] = int(current[bins.lower].sum()) / values
    return numbers


def binned_drift(current: NDArray[np.int64], before: NDArray[np.int64]) -> dict[str, Any]:
    """PSI, JS and p-value of two bin counts (B)."""
    if not current.sum() or not before.sum():
        return {}
    numbers = {"psi": distance.psi(current, before), "js": distance.jensen_shannon(current, before)}
    if min(current.sum(), before.sum()) >= distance.MIN_TESTED:
        p_value = distance.chi_square_p(current, before)
        if p_value is not None:
            numbers["p_value"] = p_value
    return numbers


def mixed_drifts(
    current: NDArray[np.int64], before: NDArray[np.int64], path: str, dispersions: Sequence[Dispersions | None]
) -> list[dict[str, Any]]:
    """``binned_drift`` and ``mix_shift`` of each of F pairs of bin counts (F, B)."""
    found = binned_drifts(current, before)
    distances, columns = jensen_shannons(current, before).tolist(), zip(*(of.tolist() for of in found.tests), strict=True)
    sizes = zip(current.sum(axis=1).tolist(), before.sum(axis=1).tolist(), strict=True)
    members = []
    rows = zip(found.members(), distances, columns, sizes, dispersions, strict=True)
    for drift, js, (statistic, freedom), (n, total), spreads in rows:
        numbers = {"psi": drift["psi"], "js": js} | drift if drift else {}
        if "p_value" in drift:
            numbers |= _mix_shift(distance.ChiSquare(statistic, freedom), n, total, path, spreads)
        members.append(numbers)
    return members


def category_drift(
    summary: CategorySummary, missing: int, reference: CategorySummary, values: list[str], path: str,
    dispersions: Dispersions | None,
) -> dict[str, Any]:  # fmt: skip
    """Drift of a category: PSI, Jensen-Shannon distance and p-value over the baseline's values, unseen ones and missing ones;
    and ``mix_shift`` without the missing ones, which have a test of their own."""
    known = [summary.of(value) for value in values]
    before = [reference.of(value) for value in values]
    current = np.array([*known, summary.count - sum(known), missing])
    earlier = np.array([*before, reference.count - sum(before), reference.missing])
    return binned_drift(current, earlier) | mix_shift(*_by_commonness(summary, reference, values), path, dispersions)


def _by_commonness(
    summary: CategorySummary, reference: CategorySummary, values: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two counts (B) in the same bins: one bin for each value that is frequent enough to be compared by itself, and joint bins
    for rarer values that are equally frequent in both samples together. Which rare values occur in a sample is chance, so new
    ones are not counted as a change by themselves but compared with known ones that no longer occur."""
    new = summary.new.keys() - set(values)
    named = [*values, *sorted(new - {OTHER})]
    current = np.array([summary.of(value) for value in named], np.int64)
    before = np.array([reference.of(value) for value in named], np.int64)
    # Values whose names are not kept are among the rarest.
    further = summary.count - int(current.sum()), reference.count - int(before.sum())
    n, m = summary.count, reference.count
    both = current + before
    rare = both * min(n, m) < distance.MIN_EXPECTED * (n + m)
    levels = np.maximum(both[rare], 1)
    size = int(levels.max(initial=1)) + 1
    pooled = [np.bincount(levels, counts[rare], size).astype(np.int64) for counts in (current, before)]
    for counts, more in zip(pooled, further, strict=True):
        counts[1] += more
    return np.append(current[~rare], pooled[0]), np.append(before[~rare], pooled[1])


def mix_shift(
    current: NDArray[np.int64], before: NDArray[np.int64], path: str, dispersions: Dispersions | None
) -> dict[str, Any]:
    """The difference between the shares of two counts (B). ``mix_shift``: Cohen's w (1988), the root of the sum of squared
    differences divided by expected shares. ``chi_square_ratio``: the chi-square statistic divided by its degrees of freedom.
    ``mix_p_value``: that of the chi-square test, or that of the ratio among the baseline's windows (``dispersions``, under
    ``path``) if it is larger."""
    n, total = int(current.sum()), int(before.sum())
    found = distance.chi_square(current, before) if min(n, total) >= distance.MIN_TESTED else None
    return {} if found is None else _mix_shift(found, n, total, path, dispersions)


def _mix_shift(
    found: distance.ChiSquare, n: int, total: int, path: str, dispersions: Dispersions | None
) -> dict[str, Any]:  # fmt: skip
    statistic, freedom = found
    ratio, p_value = statistic / freedom, float(chdtrc(freedom, statistic))
    spread = None if dispersions is None else dispersions.ratio(f"{path}.{RATIO}")
    if spread is not None:
        p_value = max(p_value, spread_p_value(ratio, spread))
    return {"mix_shift": math.sqrt(statistic * (1 / n + 1 / total)), RATIO: ratio, "mix_p_value": p_value}
