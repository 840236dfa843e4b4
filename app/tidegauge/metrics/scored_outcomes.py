"""What the scores of outcomes say, computed for many profiles at once: AUC, its variance, and the bins of calibration.

The outcomes of one segment are often few, so that one by one most of the time would be the fixed cost of NumPy's calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from tidegauge.profile.outcome import OutcomeProfile, derive_all
from tidegauge.profile.score_counts import CALIBRATED, CALIBRATION_BINS, POSITIVE, SCORED
from tidegauge.profile.score_grid import SCORE_BINS, SCORES

MIN_EXPECTED = 5.0
"""Bins in which fewer positives or negatives than this are expected are pooled for the test."""
_SCORE_SUMS = tuple(f"score_{number}" for number in range(CALIBRATION_BINS))


class Reliability(NamedTuple):
    """Outcomes in ten bins of equal width by their score: their ``counts`` (10), the sums of their scores (10), and the counts
    of positives (10), all floats. ``excess`` (10): the number of positives that the scores predict minus the number that
    occurred; ``variance`` (10): of the number of positives if every score were a true probability, from the bin's mean
    score.

    ``reliability``, ``resolution``, ``uncertainty``: as in ``calibration_numbers``; ``mean_square``: the mean over outcomes of
    the square of their bin's mean score; ``ece``: the expected calibration error; ``chance``: what it would be at most in the
    mean if every score were a true probability. All are 0 without outcomes."""

    counts: list[float]
    score_sums: list[float]
    positives: list[float]
    excess: list[float]
    variance: list[float]
    p_value: float | None
    reliability: float
    resolution: float
    uncertainty: float
    mean_square: float
    ece: float
    chance: float


class ScoredOutcomes(NamedTuple):
    """The outcomes of a profile that have a score: how many are positive and negative; the area under the ROC curve, None with
    only one class; its variance, None with fewer than two of a class; the sum of the fourth powers of the scores' errors; and
    the bins of calibration."""

    positives: int
    negatives: int
    auc: float | None
    auc_variance: float | None
    fourths: float
    reliability: Reliability

    @property
    def outcomes(self) -> int:
        return self.positives + self.negatives


def scored_outcomes(outcomes: Sequence[OutcomeProfile]) -> list[ScoredOutcomes]:
    """What the scores of each of some profiles say; of each it is computed once, and cached until the profile changes."""
    return derive_all(outcomes, _scored_outcomes)


def scored(outcome: OutcomeProfile) -> ScoredOutcomes:
    """``scored_outcomes`` of one profile."""
    return scored_outcomes((outcome,))[0]


class _Scores(NamedTuple):
    """The scores that occur among the outcomes of S profiles, ascending within each. ``starts`` (S): where those of a profile
    begin; ``scores``, ``positives``, ``negatives`` (k): as in ScoreCounts."""

    starts: NDArray[np.intp]
    scores: NDArray[np.float64]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]

    def sums(self, terms: NDArray[Any]) -> NDArray[np.float64]:
        """The sum of the terms (k) of each profile (S)."""
        # A term of 0 at the end lets the last profile have none.
        found = np.add.reduceat(np.append(terms, 0.0), self.starts)
        found[self.starts == np.append(self.starts[1:], len(terms))] = 0.0
        return found

    def repeated(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """The numbers (S) of profiles for each of their scores (k)."""
        return np.repeat(numbers, np.diff(self.starts, append=len(self.scores)))


def _scored_outcomes(outcomes: Sequence[OutcomeProfile]) -> list[ScoredOutcomes]:
    profiles = np.repeat(np.arange(len(outcomes)), [len(of.histograms.keys) for of in outcomes])
    keys = np.concatenate([of.histograms.keys for of in outcomes])
    counts = np.concatenate([of.histograms.counts for of in outcomes])
    held = _score_counts(profiles, keys, counts, len(outcomes))
    m, n = held.sums(held.positives), held.sums(held.negatives)
    with np.errstate(divide="ignore", invalid="ignore"):
        aucs, variances = _aucs(held, m, n)
    errors = held.positives * (1 - held.scores) ** 4 + held.negatives * held.scores**4
    columns = zip(m.tolist(), n.tolist(), aucs.tolist(), variances.tolist(), held.sums(errors).tolist(), strict=True)
    bins = _reliabilities(outcomes, profiles, keys, counts)
    return [
        ScoredOutcomes(
            int(positives), int(negatives),
            auc if positives > 0 and negatives > 0 else None,
            variance if positives >= 2 and negatives >= 2 else None,
            fourths, reliability,
        )
        for (positives, negatives, auc, variance, fourths), reliability in zip(columns, bins, strict=True)
    ]  # fmt: skip


def _score_counts(profiles: NDArray[np.intp], keys: NDArray[np.int64], counts: NDArray[np.int64], number: int) -> _Scores:
    """The scores in the histograms of so many profiles. ``profiles``, ``keys``, ``counts`` (n): their entries."""
    scored = keys < CALIBRATED
    profiles, keys, counts = profiles[scored], keys[scored], counts[scored]
    positive = keys >= POSITIVE
    joint = profiles * SCORE_BINS + keys - POSITIVE * positive
    order = np.argsort(joint, kind="stable")
    ordered = joint[order]
    first = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    begins = np.flatnonzero(first)
    found, positive, counts = ordered[begins], positive[order], counts[order]
    starts = np.searchsorted(found, np.arange(number) * SCORE_BINS)
    sums = [np.add.reduceat(counts * of, begins) if len(begins) else counts for of in (positive, ~positive)]
    return _Scores(starts, SCORES[found % SCORE_BINS], *sums)


def _aucs(held: _Scores, m: NDArray[np.float64], n: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The AUC of each profile (S) and its sampling variance by DeLong, DeLong and Clarke-Pearson (1988), whose placements are
    the same for all outcomes with the same score. ``m``, ``n`` (S): the numbers of positives and negatives."""
    placed = []
    for counts, totals in ((held.negatives, n), (held.positives, m)):
        summed = np.cumsum(counts)
        before = np.append(0, summed)[held.starts]
        # How many are below each score, of those with the same score half.
        placed.append(((summed - held.repeated(before) - 0.5 * counts), held.repeated(totals)))
    (negatives_below, negatives), (positives_below, positives) = placed
    aucs = held.sums(held.positives * negatives_below) / (m * n)
    auc = held.repeated(aucs)
    below, above = negatives_below / negatives, (positives - positives_below) / positives
    of_positives = held.sums(held.positives * (below - auc) ** 2) / (m - 1)
    of_negatives = held.sums(held.negatives * (above - auc) ** 2) / (n - 1)
    return aucs, of_positives / m + of_negatives / n


def _reliabilities(
    outcomes: Sequence[OutcomeProfile], profiles: NDArray[np.intp], keys: NDArray[np.int64], counts: NDArray[np.int64]
) -> list[Reliability]:
    width = 2 * CALIBRATION_BINS
    binned = (keys >= CALIBRATED) & (keys < SCORED)
    places = profiles[binned] * width + keys[binned] - CALIBRATED
    dense = np.bincount(places, counts[binned], len(outcomes) * width).reshape(-1, 2, CALIBRATION_BINS)
    positives = dense[:, 1]
    in_bins = np.asarray(dense[:, 0] + positives, np.float64)
    score_sums = np.array([[of.sum(name) for name in _SCORE_SUMS] for of in outcomes], np.float64)
    excess: NDArray[np.float64] = score_sums - positives
    known = np.maximum(in_bins, 1.0)
    means, ratios = score_sums / known, positives / known
    clipped = np.minimum(np.maximum(means, 0.0), 1.0)
    variance = in_bins * clipped * (1.0 - clipped)
    n = np.maximum(in_bins.sum(axis=1), 1.0)
    rate = positives.sum(axis=1) / n
    numbers = (
        (in_bins * (means - ratios) ** 2).sum(axis=1) / n,
        (in_bins * (ratios - rate[:, None]) ** 2).sum(axis=1) / n,
        rate * (1 - rate),
        (in_bins * means**2).sum(axis=1) / n,
        np.abs(excess).sum(axis=1) / n,
        np.sqrt(2 / math.pi * variance).sum(axis=1) / n,
    )
    p_values = _p_values(excess, variance, score_sums, in_bins - score_sums)
    columns = [column.tolist() for column in (in_bins, score_sums, positives, excess, variance)]
    return [Reliability(*of) for of in zip(*columns, p_values, *(column.tolist() for column in numbers), strict=True)]


def _p_values(
    excess: NDArray[np.float64], variance: NDArray[np.float64], likely: NDArray[np.float64], unlikely: NDArray[np.float64]
) -> list[float | None]:
    """The p-values (S) of the hypothesis that every score is the true probability, from what is known of the bins (S, 10):
    ``excess`` and ``variance`` as in Reliability, and how many positives and negatives are expected.

    Neighbouring bins are pooled if fewer than MIN_EXPECTED of either class are expected in one, the last with the pool before.
    If all scores are 0 or 1, a single wrong one refutes the hypothesis."""
    pool, last = np.zeros((4, len(excess))), np.zeros((2, len(excess)))
    statistics, pools, refuted = np.zeros(len(excess)), np.zeros(len(excess)), np.zeros(len(excess), bool)

    def add(rows: NDArray[np.bool_]) -> None:
        """Add the last pool to the statistics of these rows (S)."""
        certain = rows & (last[1] == 0)
        refuted[certain & (last[0] != 0)] = True
        of = rows & ~certain
        statistics[of] += last[0, of] ** 2 / last[1, of]

    for own in np.array((excess, variance, likely, unlikely)).transpose(2, 0, 1):
        pool += own
        full = pool[2:].min(axis=0) >= MIN_EXPECTED
        add(full & (pools > 0))
        last[:, full], pool[:, full] = pool[:2, full], 0.0
        pools += full
    last += pool[:2]
    add(pools > 0)
    found = np.where(refuted, 0.0, chdtrc(np.maximum(pools, 1.0), statistics)).tolist()
    return [p_value if number else None for p_value, number in zip(found, pools.tolist(), strict=True)]
