"""Confidence sequences and always-valid tests, by simulation: a look at every window must not raise the error beyond alpha."""

import numpy as np
import pytest
from scipy.stats import binom

from tidegauge.metrics.sequential import Contrast, Sample, half_width, mcnemar_p_value, p_value, paired, two_sample
from tidegauge.profile.pairs import Moments
from tidegauge.rollout.verdict import judge
from tidegauge.spec import RolloutSpec

ALPHA, RUNS, LOOKS, REQUESTS, MIN_COUNT = 0.05, 400, 40, 100, 200
"""Forty windows of a hundred requests, four hundred times."""
FAMILY_RUNS = 150


def at_most(rejected, runs=RUNS):
    """No more runs were rejected than an error of ALPHA explains (999 times in 1000)."""
    return rejected <= binom.ppf(0.999, runs, ALPHA)


def moments(first, second):
    return Moments(
        len(first), first.sum(), second.sum(), (first**2).sum(), (second**2).sum(), (first * second).sum()
    )  # fmt: skip


def sample(values):
    return Sample(len(values), values.sum(), ((values - values.mean()) ** 2).sum() if len(values) else 0.0)


def losses_of_pairs(rng, look, shift=0.0):
    """Brier losses of two models whose scores differ but are equally far from the truth: skewed, correlated, and harder
    to predict at some times than at others."""
    score = rng.beta(1 + look % 5, 2, REQUESTS)
    outcome = rng.random(REQUESTS) < score
    noise = rng.normal(0, 0.08, (2, REQUESTS)) + np.array([[0.0], [shift]])
    return tuple((np.clip(score + of, 0, 1) - outcome) ** 2 for of in noise)


def two_arms(draw):
    """A share of the requests that changes from window to window, at a level that changes with it."""

    def window(rng, look, effect=0.0):
        share = 0.05 + 0.9 * look / LOOKS
        second = max(2, min(REQUESTS - 2, int(rng.binomial(REQUESTS, share))))
        return draw(rng, REQUESTS - second, look, 0.0), draw(rng, second, look, effect)

    return window


DRAWS = {
    "conversions": two_arms(lambda rng, n, look, by: (rng.random(n) < 0.1 + 0.3 * look / LOOKS + by).astype(float)),
    "rare errors": two_arms(lambda rng, n, look, by: (rng.random(n) < 0.01 + by).astype(float)),
    "latency": two_arms(lambda rng, n, look, by: rng.lognormal(3 + np.sin(look), 0.8, n) * (1 + by)),
    "normal": two_arms(lambda rng, n, look, by: rng.normal(look, 1.0, n) + by),
    "pairs": losses_of_pairs,
}
EFFECTS = {"conversions": 0.12, "rare errors": 0.06, "latency": 0.35, "normal": 0.2, "pairs": 0.3}


def runs(name, effect=0.0, count=RUNS):
    """The contrast after each window, run by run."""
    for seed in range(count):
        rng = np.random.default_rng((seed, len(name)))
        total, totals = Contrast(), []
        for look in range(LOOKS):
            first, second = DRAWS[name](rng, look, effect)
            total = total + (paired(moments(first, second)) if name == "pairs" else two_sample(sample(first), sample(second)))
            totals.append(total)
        yield totals


def rejects(total, name):
    binary = name in ("conversions", "rare errors")
    if min(total.count_first, total.count_second) < MIN_COUNT:
        return False
    difference = (total.second - total.first) / total.weight
    variance = total.variance(1.0, binary)
    found = abs(difference) > half_width(total.weight, variance, ALPHA)
    assert found == (p_value(difference, total.weight, variance) < ALPHA)
    return found


@pytest.mark.parametrize("name", DRAWS)
def test_without_a_difference_a_look_at_every_window_rejects_at_most_alpha(name):
    assert at_most(sum(any(rejects(total, name) for total in totals) for totals in runs(name)))


@pytest.mark.parametrize("name", DRAWS)
def test_a_real_difference_is_found(name):
    found = [any(rejects(total, name) for total in totals) for totals in runs(name, EFFECTS[name], 100)]
    assert np.mean(found) > 0.9


def test_the_shares_of_a_growing_canary_are_no_difference():
    """Summed up over all windows the canary, which grows while conversions do, would look better by far."""
    (totals,) = runs("conversions", count=1)
    last = totals[-1]
    raw = [[], []]
    rng = np.random.default_rng((0, len("conversions")))
    for look in range(LOOKS):
        for side, values in zip(raw, DRAWS["conversions"](rng, look), strict=True):
            side.extend(values)
    assert np.mean(raw[1]) - np.mean(raw[0]) > 0.05
    assert abs(last.second - last.first) / last.weight < 0.03


def test_mcnemar_holds_its_level_at_every_look_and_finds_a_difference():
    rng = np.random.default_rng(7)

    def rejected(share):
        only = rng.binomial(20, share, (RUNS, LOOKS)).cumsum(axis=1)
        seen = 20 * np.arange(1, LOOKS + 1)
        return sum(any(mcnemar_p_value(a, n - a) < ALPHA for a, n in zip(run, seen, strict=True)) for run in only.tolist())

    assert at_most(rejected(0.5))
    assert rejected(0.6) > 0.95 * RUNS


def test_mcnemar_is_the_bayes_factor_it_says():
    """Against the integral of the mixture, by quadrature."""
    from scipy.integrate import quad
    from scipy.stats import beta

    from tidegauge.metrics.sequential import TUNED_FOR_DISCORDANT, _precision

    shape = (1 / _precision(TUNED_FOR_DISCORDANT) - 1) / 2
    factor, _ = quad(lambda x: (2 * x) ** 30 * (2 * (1 - x)) ** 12 * beta.pdf(x, shape, shape), 0, 1)
    assert mcnemar_p_value(30, 12) == pytest.approx(1 / factor, rel=1e-9)


def test_the_family_of_all_metrics_keeps_the_level():
    spec = RolloutSpec("rollout", "1d", margin=0.0, significance=ALPHA)
    paths = {
        "performance.brier": "pairs", "system.error_ratio": "rare errors", "system.latency_ms.mean": "latency",
        "business.converted.mean": "conversions",
    }  # fmt: skip
    wrong = 0
    for each in zip(*(runs(name, count=FAMILY_RUNS) for name in paths.values()), strict=True):
        looks = (dict(zip(paths, look, strict=True)) for look in zip(*each, strict=True))
        wrong += any(judge(look, spec, None, "m:1").decision == "roll back" for look in looks)
    assert at_most(wrong, FAMILY_RUNS)


def test_contrasts_add_up_in_any_grouping():
    rng = np.random.default_rng(1)
    parts = [two_sample(sample(rng.random(50)), sample(rng.random(30))) for _ in range(6)]
    left = sum(parts, Contrast())
    right = sum(parts[:3], Contrast()) + sum(parts[3:], Contrast())
    assert left.variance(1.1) == pytest.approx(right.variance(1.1), rel=1e-12)
    assert (left.first, left.weight) == pytest.approx((right.first, right.weight))
