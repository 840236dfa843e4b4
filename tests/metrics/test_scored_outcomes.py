"""What scores say of many segments at once is what they say of each alone, and what other libraries say of its rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn import metrics

from support.outcomes import binary, outcomes
from tidegauge.metrics.calibration import calibration_numbers
from tidegauge.metrics.performance import performance
from tidegauge.metrics.performance_interval import performance_intervals
from tidegauge.metrics.scored_outcomes import scored, scored_outcomes
from tidegauge.profile.outcome import OutcomeProfile

ROW = st.tuples(st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.31, 0.5, 0.999, 1.0]), st.sampled_from([-1, 0, 1]))


@given(st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=6))
def test_together_as_alone(segments: list[list[tuple[float, int]]]) -> None:
    """Segments without outcomes, without known classes and with one class only are among them."""

    def profiles() -> list[OutcomeProfile]:
        rows = [np.array(of or [(0.5, -1)]).T for of in segments]
        return [outcomes(actual.astype(int), actual.astype(int), score) for score, actual in rows]

    assert scored_outcomes(profiles()) == list(map(scored, profiles()))


def test_together_as_scikit_learn_of_each() -> None:
    rng = np.random.default_rng(5)
    rows = [(score := rng.beta(2, 3, n), (rng.random(n) < score).astype(int)) for n in (3, 40, 7, 400, 25)]
    profiles = [outcomes((score > 0.5).astype(int), actual, score) for score, actual in rows]
    profiles.insert(2, OutcomeProfile())
    found = scored_outcomes(profiles)
    assert found[2].outcomes == 0
    assert found[2].auc is None
    del found[2]
    for (score, actual), of in zip(rows, found, strict=True):
        assert (of.positives, of.negatives) == (actual.sum(), (1 - actual).sum())
        assert of.fourths == pytest.approx(((score - actual) ** 4).sum(), rel=0.01)
        if 0 < actual.sum() < len(actual):
            assert of.auc == pytest.approx(metrics.roc_auc_score(actual, score), abs=2e-3)
        mean_gap = [
            abs(score[tenth].sum() - actual[tenth].sum())
            for k in range(10)
            if len(tenth := np.flatnonzero(score * 10 // 1 == k))
        ]
        assert of.reliability.ece == pytest.approx(sum(mean_gap) / len(score))


def hosmer_lemeshow(scores: NDArray[np.float64], actual: NDArray[np.int64]) -> float | None:
    """The test bin by bin: neighbours are pooled until five of each class are expected, the rest goes to the last pool."""
    pools: list[list[int]] = []
    rows: list[int] = []
    for tenth in range(10):
        rows += np.flatnonzero(np.minimum(scores * 10 // 1, 9) == tenth).tolist()
        if min(scores[rows].sum(), (1 - scores[rows]).sum()) >= 5:
            pools.append(rows)
            rows = []
    if not pools:
        return None
    pools[-1] += rows
    statistic = 0.0
    for pool in pools:
        tenths = [[row for row in pool if min(int(scores[row] * 10), 9) == tenth] for tenth in range(10)]
        spread = sum(len(of) * scores[of].mean() * (1 - scores[of].mean()) for of in tenths if of)
        statistic += (scores[pool].sum() - actual[pool].sum()) ** 2 / spread
    return float(chi2.sf(statistic, len(pools)))


def test_p_values_of_calibration_are_those_of_pools_made_one_by_one() -> None:
    rng = np.random.default_rng(8)
    sizes = (2, 9, 14, 25, 40, 90, 400, 2000)
    rows = [(score := rng.beta(*shape, n), (rng.random(n) < score**power).astype(int))
            for n in sizes for shape in ((2, 3), (0.3, 0.3), (1, 20)) for power in (1.0, 0.8)]  # fmt: skip
    profiles = [outcomes((score > 0.5).astype(int), actual, score) for score, actual in rows]
    tested = 0
    for (score, actual), of in zip(rows, scored_outcomes(profiles), strict=True):
        expected = hosmer_lemeshow(score, actual)
        assert of.reliability.p_value == (None if expected is None else pytest.approx(expected, rel=1e-6, abs=1e-300))
        tested += expected is not None
    assert 20 < tested < len(rows)


def test_a_single_wrong_one_refutes_scores_of_0_and_1() -> None:
    scores, actual = np.repeat([0.0, 1.0], 10), np.repeat([0, 1], 10)
    wrong = actual.copy()
    wrong[3] = 1
    right, refuted = scored_outcomes([outcomes(of, of, scores) for of in (actual, wrong)])
    assert (right.reliability.p_value, refuted.reliability.p_value) == (1.0, 0.0)


def test_nothing_is_kept_of_what_changed() -> None:
    rng = np.random.default_rng(6)
    profile, more = binary(rng, 100), binary(rng, 50)
    scored_outcomes([profile, more])
    profile.merge(more)
    again = OutcomeProfile.unpack(profile.pack())
    for of in (performance, performance_intervals):
        assert of(profile, "binary", "1") == of(again, "binary", "1")
    assert calibration_numbers(profile) == calibration_numbers(again)
