"""Streams with a known truth: reference data and windows of predictions with labels, of which some drift.

Everything is drawn in a latent normal space, row by row, and then bent into the shapes features have. A label is positive with
probability 0.3; three features know of it, and the score is the calibrated posterior given these three.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.stats import norm

POSITIVE = 0.3
INFORMATIVE, SEPARATION = 3, 0.8
PHI = 0.9
"""Autocorrelation of one row with the next in the autocorrelated streams: a window of n rows weighs as n / 19."""
CATEGORIES = (np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.3, 0.2, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.03, 0.02]))
VICTIM = 5
"""The feature that drifts: normal, and unknown to the score."""
MISSING = 0.01
"""Share of values that every fourth feature always lacks."""
HOUR, DAY = 3600.0, 86400.0


@dataclass(frozen=True)
class Scenario:
    """``features`` numbers and two categories; windows of ``rows``, ``reference`` of them to build from and ``windows`` to
    watch. ``drift`` is its kind ("" for none) and ``size``; drifting windows come in episodes of EPISODE, after CALM. ``phi``:
    autocorrelation of one row with the next, where the family is autocorrelated."""

    name: str
    family: str
    features: int
    rows: int
    reference: int
    windows: int
    labels: bool
    drift: str = ""
    size: float = 0.0
    seed: int = 0
    phi: float = PHI

    @property
    def window(self) -> str:
        return "1d" if self.family == "weekly" else "1h"

    @property
    def seconds(self) -> float:
        return DAY if self.family == "weekly" else HOUR

    @property
    def drifting(self) -> NDArray[np.bool_]:
        """Which windows drift (windows)."""
        return (np.arange(self.windows) % (CALM + EPISODE) >= CALM) & (self.drift != "")


CALM, EPISODE = 6, 4


@dataclass(frozen=True)
class Rows:
    """Columns of some rows: ``numbers`` (n, F), ``categories`` (n, 2) as codes, ``score``, ``label`` (n), ``ts`` (n)."""

    numbers: NDArray[np.float64]
    categories: NDArray[np.int64]
    score: NDArray[np.float64]
    label: NDArray[np.int64]
    ts: NDArray[np.float64]

    def part(self, start: int, end: int) -> Rows:
        return Rows(*(column[start:end] for column in (self.numbers, self.categories, self.score, self.label, self.ts)))


def draw(scenario: Scenario) -> tuple[Rows, Rows]:
    """The reference rows and the watched rows, in order; window w of them is rows w·n to (w+1)·n."""
    rng = np.random.default_rng([scenario.seed, 7])
    reference = _rows(scenario, scenario.reference, 0, np.zeros(scenario.reference, bool), rng)
    return reference, _rows(scenario, scenario.windows, scenario.reference, scenario.drifting, rng)


def _noise(scenario: Scenario, count: int, columns: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Standard normal (count, columns); each column an AR(1) process in the autocorrelated family."""
    noise = rng.normal(size=(count, columns))
    if scenario.family != "autocorrelated":
        return noise
    noise[1:] *= np.sqrt(1 - scenario.phi**2)
    return np.asarray(lfilter([1.0], [1.0, -scenario.phi], noise, axis=0))


def _rows(scenario: Scenario, windows: int, first: int, drifting: NDArray[np.bool_], rng: np.random.Generator) -> Rows:
    n, count, features = scenario.rows, windows * scenario.rows, scenario.features
    ts = (first + np.arange(count) / n) * scenario.seconds
    hit = np.repeat(drifting, n)
    kind, size = scenario.drift, scenario.size
    noise = _noise(scenario, count, features + len(CATEGORIES) + 1, rng)
    prior = np.full(count, POSITIVE)
    if kind == "prior":
        prior[hit] += size
    weekday = (ts // DAY % 7).astype(int)
    shape = np.random.default_rng([scenario.seed, 8])
    if scenario.family == "weekly":
        prior = prior + 0.08 * np.sin(2 * np.pi * weekday / 7)
    label = (noise[:, -1] < norm.ppf(prior)).astype(np.int64)
    z = noise[:, :features]
    z[:, :INFORMATIVE] += SEPARATION * label[:, None]
    score = _posterior(z[:, :INFORMATIVE])
    if scenario.family == "weekly":
        z = z + shape.normal(scale=0.5, size=(7, features))[weekday] + 0.5 * np.sin(2 * np.pi * ts / DAY)[:, None]
    victim = z[:, VICTIM]
    if kind == "mean":
        victim[hit] += size
    elif kind == "variance":
        victim[hit] *= size
    elif kind == "tail":
        victim[hit & (victim > norm.ppf(0.95))] += size
    if kind == "concept":
        # Labels that know nothing of the features any more, with the same share of positives.
        lost = hit & (rng.random(count) < size)
        label[lost] = rng.random(int(lost.sum())) < POSITIVE
    numbers = _shaped(z)
    numbers[:, 1::4][rng.random((count, len(range(1, features, 4)))) < MISSING] = np.nan
    if kind == "missing":
        numbers[hit & (rng.random(count) < size), VICTIM] = np.nan
    codes = [np.searchsorted(np.cumsum(p)[:-1], norm.cdf(noise[:, features + c])) for c, p in enumerate(CATEGORIES)]
    if kind == "category":
        moved = hit & (codes[0] == 0) & (rng.random(count) < size / CATEGORIES[0][0])
        codes[0][moved] = 1
    return Rows(numbers, np.stack(codes, axis=1), score, label, ts)


def _posterior(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability of the positive class given the informative features (n, INFORMATIVE)."""
    log_odds = np.log(POSITIVE / (1 - POSITIVE)) + (SEPARATION * z - SEPARATION**2 / 2).sum(axis=1)
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def _shaped(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Latent columns to features: normal, log-normal, heavy-tailed, bounded, and with a third of zeros, in turn."""
    shapes = (
        lambda x: x,
        lambda x: np.exp(0.7 * x),
        lambda x: np.sinh(x),
        lambda x: norm.cdf(x),
        lambda x: np.maximum(np.exp(0.5 * x) - 0.8, 0.0),
    )
    return np.stack([shapes[column % len(shapes)](z[:, column]) for column in range(z.shape[1])], axis=1)
