"""How far numbers and categories have moved from their baseline: distances, the tails, and a p-value for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from tidegauge.baseline.baseline import RESULT_BINS, Baseline
from tidegauge.baseline.binning import counts_in
from tidegauge.baseline.contrasts import Contrasts
from tidegauge.baseline.dispersion import Dispersions
from tidegauge.baseline.scored import RATIO
from tidegauge.metrics import distance
from tidegauge.metrics.drift_columns import ReferenceColumns, side_by_side
from tidegauge.metrics.prediction_limits import spread_p_value
from tidegauge.metrics.shift import number_shift
from tidegauge.metrics.shift_columns import number_shifts
from tidegauge.profile.category import CategorySummary
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.schema import ATTRIBUTION, MISSING, Bins


class Against(msgspec.Struct, frozen=True):
    """What a window is held against: a baseline, and what is known of its windows of that length, if the ``window`` has one
    (``None``: the reference itself). ``rows``: predictions of the window; ``recent``: it is taken together with the one
    before."""

    baseline: Baseline
    window: str | None
    rows: int
    recent: bool = False

    @property
    def dispersions(self) -> Dispersions | None:
        return None if self.window is None else self.baseline.dispersions(self.window, self.recent)


class Compared(msgspec.Struct, frozen=True):
    """One number's counts beside the reference's, in ``bins``; whether both are ``exact``, and if not whether they are
    ``known`` from sketches; and its ``distances`` that do not come from bins."""

    bins: Bins
    current: NDArray[np.int64]
    before: NDArray[np.int64]
    exact: bool
    known: bool
    distances: dict[str, Any]


def number_drift(
    block: NumericBlock, row: int, reference: NumericBlock, reference_name: str, against: Against, name: str, path: str
) -> dict[str, Any]:
    """Every distance of one number from its baseline, in the bins the baseline gives the feature ``name``. ``path``: where
    a record holds them.

    ``bins`` says "sketch" where the bins had to come from a quantile sketch: then the p-value is that of KS, which
    allows for the sketch's error, and the tails are left out. A reference without sketches has no KS and Wasserstein, but of
    a number with few values, whose counts say both exactly.
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
    """``number_drift`` of many features, ``names`` with their rows: of those whose counts are exact, at once."""
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
    key = tuple(exact)
    if key not in baseline.columns:
        held = [contrasts(baseline, name) for name in exact]
        kept = [of for of in held if of is not None]
        assert len(kept) == len(held), "what is counted exactly can be contrasted"
        baseline.columns[key] = ReferenceColumns([of.bins for of in exact.values()], [of.before for of in exact.values()], kept)
    columns: ReferenceColumns = baseline.columns[key]
    counts = side_by_side([of.current for of in exact.values()])
    paths = [f"data.features.{name}" for name in exact]
    shifts = number_shifts(counts, columns.contrasts, paths, against.dispersions, against.rows)
    for (name, of), drift, shift in zip(exact.items(), columns.drifts(counts), shifts, strict=True):
        found[name] = of.distances | drift | shift
    return found


def _compared(
    block: NumericBlock, row: int, reference: NumericBlock, reference_name: str, baseline: Baseline, name: str
) -> Compared | None:
    """None where one side has no values."""
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
    """What to compare the number ``name`` of the baseline's schema with; None where its counts are not exact."""
    if name not in baseline.contrasts:
        block, source = baseline.data.features, name
        if name in RESULT_BINS:
            block, source = baseline.data.results, RESULT_BINS[name]
        elif name.startswith(ATTRIBUTION):
            block, source = baseline.data.attributions.values, name.removeprefix(ATTRIBUTION)
        row = block.index(source)
        if row is None:
            return None
        counts, exact = counts_in(block, row, name, baseline.schema)
        if not exact:
            return None
        baseline.contrasts[name] = Contrasts(counts, baseline.schema.bins[name])
    return baseline.contrasts[name]


class MissingCount(NamedTuple):
    """How many values are missing, of how many."""

    missing: int
    total: int


def missing_before(name: str, baseline: Baseline) -> MissingCount:
    """Of a feature, in the reference."""
    data = baseline.data
    row, category = data.features.index(name), data.categories.get(name)
    values, missing = (0, 0) if row is None else (int(data.features.count[row]), int(data.features.missing[row]))
    if category is not None and category.count > values:
        values, missing = category.count, category.missing
    return MissingCount(missing, values + missing)


def _gather(counts: NDArray[np.int64], places: NDArray[np.intp]) -> NDArray[np.int64]:
    """Counts in coarser bins: ``places`` says in which each bin lies."""
    return np.bincount(places, counts, int(places.max()) + 1).astype(np.int64)


def _tails(current: NDArray[np.int64], before: NDArray[np.int64], bins: Bins) -> dict[str, Any]:
    """What happens in the outer tenths, where ten equal bins see nothing: the PSI over bins that divide only them, its
    p-value, and the shares of values at or above the baseline's 99th percentile and below its 1st."""
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


def category_drift(
    summary: CategorySummary, missing: int, reference: CategorySummary, values: list[str], path: str,
    dispersions: Dispersions | None,
) -> dict[str, Any]:  # fmt: skip
    """PSI, JS and p-value over each of the baseline's values, the unseen and the missing; their shift without the missing,
    which have a test of their own."""
    known = [summary.of(value) for value in values]
    before = [reference.of(value) for value in values]
    current = np.array([*known, summary.count - sum(known), missing])
    earlier = np.array([*before, reference.count - sum(before), reference.missing])
    return binned_drift(current, earlier) | mix_shift(current[:-1], earlier[:-1], path, dispersions)


def mix_shift(
    current: NDArray[np.int64], before: NDArray[np.int64], path: str, dispersions: Dispersions | None
) -> dict[str, Any]:
    """``mix_shift`` of the shares of two counts (B): Cohen's w (1988), the root of the sum of squared differences over the
    expected shares; ``chi_square_ratio``, the statistic over its degrees of freedom; ``mix_p_value``, of the
    chi-square test, or where the baseline's windows say more of the numbers below ``path`` of the spread of that ratio."""
    n, total = int(current.sum()), int(before.sum())
    found = distance.chi_square(current, before) if min(n, total) >= distance.MIN_TESTED else None
    if found is None:
        return {}
    statistic, freedom = found
    ratio, p_value = statistic / freedom, float(chdtrc(freedom, statistic))
    spread = None if dispersions is None else dispersions.ratio(f"{path}.{RATIO}")
    if spread is not None:
        p_value = max(p_value, spread_p_value(ratio, spread))
    return {"mix_shift": math.sqrt(statistic * (1 / n + 1 / total)), RATIO: ratio, "mix_p_value": p_value}
