"""Outcome profiles of drawn rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidegauge.profile.outcome import OutcomeProfile
from tidegauge.profile.outcome_groups import OutcomeGroups
from tidegauge.profile.outcome_rows import OutcomeColumns


def outcomes(
    predicted: Any, actual: Any, score: Any = None, *, regression: bool = False, log_loss: Any = None, sign: Any = None
) -> OutcomeProfile:
    """The profile of rows whose labels are in."""
    n = len(actual)
    names = ([None] * n, [None] * n) if regression else ([str(p) for p in predicted], [str(a) for a in actual])
    columns = OutcomeColumns(
        np.ones(n, np.int64) if sign is None else sign, np.ones(n, bool), *names,
        np.array([predicted, actual], float) if regression else None,
        np.full(n, np.nan) if score is None else np.asarray(score, float),
        np.full(n, -1) if score is None else np.asarray(actual, np.int64), log_loss, {}, np.full(n, 60.0),
    )  # fmt: skip
    return OutcomeGroups(columns).group(np.arange(n), np.array([0]))[0]


def binary(rng: np.random.Generator, n: int, slope: float = 1.5) -> OutcomeProfile:
    """A model whose scores are right on average: the truth follows them."""
    score = 1 / (1 + np.exp(-(slope * rng.normal(size=n) - 1)))
    actual = (rng.random(n) < score).astype(int)
    return outcomes((score > 0.4).astype(int), actual, score)


def classes(rng: np.random.Generator, n: int) -> OutcomeProfile:
    actual = rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(n) < 0.7, actual, rng.integers(0, 4, n))
    loss = rng.gamma(2.0, 0.3, n)
    return outcomes(predicted, actual, log_loss=loss)


def line(rng: np.random.Generator, n: int) -> OutcomeProfile:
    """Errors that grow with the label, as they mostly do."""
    actual = 1000.0 + 40 * rng.normal(size=n)
    return outcomes(actual + 2 + 10 * rng.normal(size=n) * np.exp((actual - 1000) / 80), actual, regression=True)
