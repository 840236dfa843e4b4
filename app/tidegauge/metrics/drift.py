"""How far numbers and categories have moved from their baseline: distances, what the tails do, and p-values for each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegauge.baseline import Baseline, sketch_bins
from tidegauge.metrics import distance
from tidegauge.profile.category import CategorySummary
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.schema import MISSING, Bins

MIN_TESTED = 20
"""No p-value is computed of fewer values than this."""


def number_drift(
    block: NumericBlock, row: int, reference: NumericBlock, reference_name: str, baseline: Baseline, name: str
) -> dict[str, Any]:
    """Every distance of one number from its baseline, in the bins the baseline gives the feature ``name``.

    ``bins`` says "sketch" where the bins had to come from a quantile sketch: then the p-value is that of KS, which
    allows for the sketch's error, and the tails are left out. A reference without sketches has no KS and Wasserstein.
    """
    place = reference.index(reference_name)
    if place is None or not reference.count[place] or not block.count[row]:
        return {}
    bins = baseline.schema.bins[name]
    current, exact = _counts(block, row, bins, baseline.schema.id)
    before, reference_exact = _counts(reference, place, bins, baseline.schema.id)
    numbers: dict[str, Any] = {}
    ours, theirs = block.kll[row], reference.kll[place]
    if ours is not None and theirs is not None:
        numbers["ks"], numbers["wasserstein"] = distance.sketch_distances(ours, theirs)
        if min(ours.n, theirs.n) >= MIN_TESTED:
            numbers["ks_p_value"] = distance.ks_p_value(numbers["ks"], ours, theirs)
    if exact and reference_exact:
        numbers |= binned_drift(_gather(current, bins.deciles), _gather(before, bins.deciles))
        numbers |= _tails(current, before, bins)
    elif current is not None and before is not None:
        numbers |= binned_drift(_gather(current, bins.deciles), _gather(before, bins.deciles))
        numbers["bins"] = "sketch"
        numbers.pop("p_value", None)
        if "ks_p_value" in numbers:
            numbers["p_value"] = numbers["ks_p_value"]
    return numbers


def _counts(block: NumericBlock, row: int, bins: Bins, edges_id: str) -> tuple[NDArray[np.int64] | None, bool]:
    """Counts (BIN_COUNT) of one number, and whether they are exact; None where there are neither bins nor a sketch."""
    if block.bins is not None and block.edges_id == edges_id:
        return block.bins[row], True
    if block.kll[row] is None:
        return None, False
    return sketch_bins(block.kll[row], bins.edges, int(block.missing[row])), False


def _gather(counts: NDArray[np.int64] | None, places: NDArray[np.intp]) -> NDArray[np.int64]:
    """Counts in coarser bins: ``places`` says in which each bin lies."""
    assert counts is not None
    return np.bincount(places, counts, int(places.max()) + 1).astype(np.int64)


def _tails(current: NDArray[np.int64] | None, before: NDArray[np.int64] | None, bins: Bins) -> dict[str, Any]:
    """What happens in the outer tenths, where ten equal bins see nothing: the PSI over bins that divide only them, its
    p-value, and the shares of values at or above the baseline's 99th percentile and below its 1st."""
    assert current is not None
    assert before is not None
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
    if min(current.sum(), before.sum()) >= MIN_TESTED:
        p_value = distance.chi_square_p(current, before)
        if p_value is not None:
            numbers["p_value"] = p_value
    return numbers


def category_drift(summary: CategorySummary, missing: int, reference: CategorySummary, values: list[str]) -> dict[str, Any]:
    """PSI, JS and p-value over each of the baseline's values, the unseen and the missing."""
    known = [summary.counts.get(value, 0) for value in values]
    before = [reference.counts.get(value, 0) for value in values]
    return binned_drift(
        np.array([*known, summary.count - sum(known), missing]),
        np.array([*before, reference.count - sum(before), reference.missing]),
    )
