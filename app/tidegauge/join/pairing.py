"""Counts requests that several versions of a model answered, in a profile for each pair of versions.

A pair belongs to the pane of the version whose name sorts first, whatever the roles of the versions, since only the monitor
stage knows which one is the champion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.class_names import is_positive
from tidegauge.engine.arrival_quanta import ArrivalPlace, ArrivalPlaces
from tidegauge.join.outcome_columns import class_log_loss
from tidegauge.join.values import class_codes, numbers_of
from tidegauge.profile.category import MISSING_CODE
from tidegauge.profile.pairs import PairColumns, PairProfile
from tidegauge.profile.score_counts import LOG_CLIP
from tidegauge.spec import ModelSpec

if TYPE_CHECKING:
    from tidegauge.join.contexts import Context
    from tidegauge.join.request_state import KeptPrediction
    from tidegauge.join.statements import Outcome


class PairKey(NamedTuple):
    """Two versions of a model, in the order of their names."""

    model: str
    first: str
    second: str


class GatheredPairs(NamedTuple):
    """Pairs of two versions. ``place``: the pane of the first version's predictions, and the quantum in which the pairs
    arrived."""

    key: PairKey
    place: ArrivalPlace
    profile: PairProfile


class PairRow(msgspec.Struct, gc=False):
    """A request that two versions have answered, or an outcome of it, to be added (``sign`` 1) or taken back (-1). ``known``:
    the event time since which this is known."""

    first: KeptPrediction
    second: KeptPrediction
    label: int | float | str | bool | None
    sign: int
    known: float


class Pairs:
    """The pairs since the last ``flush``. A request that only one version answered is not a pair."""

    def __init__(self, context: Callable[[int], Context], spec: Callable[[str], ModelSpec]) -> None:
        self._context, self._spec = context, spec
        self._met: dict[PairKey, list[PairRow]] = {}
        self._outcomes: dict[PairKey, list[PairRow]] = {}

    def predicted(self, made: KeptPrediction, others: Sequence[KeptPrediction]) -> None:
        """Note that ``made`` answers a request that ``others`` have already answered."""
        for other in others:
            self._add(self._met, made, other, None, 1, 0.0)

    def outcome_changed(self, made: KeptPrediction, other: KeptPrediction, old: Any, new: Any, moment: float) -> None:
        """At event time ``moment`` the label of both predictions changes from ``old`` to ``new``; None stands for no label."""
        if old == new and type(old) is type(new):
            return
        if old is not None:
            self._add(self._outcomes, made, other, old, -1, moment)
        if new is not None:
            self._add(self._outcomes, made, other, new, 1, moment)

    def _add(
        self, to: dict[PairKey, list[PairRow]], made: KeptPrediction, other: KeptPrediction, label: Any, sign: int, since: float
    ) -> None:
        a, b = self._context(made.context), self._context(other.context)
        if a.model != b.model:
            return
        if b.version < a.version:
            a, b, made, other = b, a, other, made
        to.setdefault(PairKey(a.model, a.version, b.version), []).append(
            PairRow(made, other, label, sign, max(made.ts, other.ts, since))
        )

    def flush(self) -> Iterator[GatheredPairs]:
        """Take out the pairs, as profiles."""
        for gathered, columns in ((self._met, met_columns), (self._outcomes, outcome_columns)):
            for key, rows in gathered.items():
                spec = self._spec(key.model)
                places = ArrivalPlaces(spec, np.array([row.first.ts for row in rows]), np.array([row.known for row in rows]))
                order = np.argsort(places.codes, kind="stable")
                starts = np.flatnonzero(np.append(True, np.diff(places.codes[order]) != 0))
                profiles = columns(rows, spec).group(order, starts)
                codes = places.codes[order][starts].tolist()
                yield from (GatheredPairs(key, places.of(code), of) for code, of in zip(codes, profiles, strict=True))
            gathered.clear()


def pair_label(a: Outcome | None, b: Outcome | None) -> Any:
    """The label that two predictions of one request share; None unless it is known of both."""
    if a is None or b is None or (a.label, a.truth) != (b.label, b.truth):
        return None
    return a.label


def met_columns(rows: Sequence[PairRow], spec: ModelSpec) -> PairColumns:
    """The answers of two versions to the same requests, without outcomes: agreement, scores, values."""
    ones = np.ones(len(rows))
    counts, said = {"requests": ones}, {}
    if spec.task != "regression":
        codes, _ = class_codes([row.first.value for row in rows] + [row.second.value for row in rows])
        classes = codes.reshape(2, -1)
        answered = (classes != MISSING_CODE).all(axis=0)
        counts |= {"classes": answered * ones, "same_class": (answered & (classes[0] == classes[1])) * ones}
        said["score"] = _both(rows, lambda made: made.score)
    if spec.task in (None, "regression"):
        said["value"] = _values(rows, spec)
    return PairColumns(ones, counts, said)


def outcome_columns(rows: Sequence[PairRow], spec: ModelSpec) -> PairColumns:
    """The hits and losses of two versions on the same requests."""
    n = len(rows)
    labels = [row.label for row in rows]
    found: dict[str, NDArray[np.float64]] = {}
    if spec.task != "regression":
        codes, names = class_codes([*(row.first.value for row in rows), *(row.second.value for row in rows), *labels])
        classes, actual = codes[: 2 * n].reshape(2, n), codes[2 * n :]
        found["right"] = np.where((classes != MISSING_CODE) & (actual != MISSING_CODE), classes == actual, np.nan)
        if spec.task != "multiclass":
            truths = [is_positive(name, spec.positive_label) for name in names]
            # The code of a missing class, -1, picks the last.
            truth = np.array([*(np.nan if of is None else float(of) for of in truths), np.nan])[actual]
            found |= _score_losses(_both(rows, lambda made: made.score), truth)
        if spec.task != "binary" and any(row.first.probabilities or row.second.probabilities for row in rows):
            known = [None if code == MISSING_CODE else names[code] for code in actual.tolist()]
            sides = ([row.first for row in rows], [row.second for row in rows])
            found["class_log_loss"] = np.array(
                [[class_log_loss(made.probabilities, of) for made, of in zip(side, known, strict=True)] for side in sides]
            )
    if spec.task in (None, "regression"):
        found["absolute"] = np.abs(_values(rows, spec) - np.array(numbers_of(labels, spec)))
    return PairColumns(np.fromiter((row.sign for row in rows), np.float64, n), {}, found)


def _values(rows: Sequence[PairRow], spec: ModelSpec) -> NDArray[np.float64]:
    """Both predictions as numbers (2, n)."""
    return np.array([numbers_of((row.first.value for row in rows), spec), numbers_of((row.second.value for row in rows), spec)])


def _both(rows: Sequence[PairRow], of: Callable[[KeptPrediction], float | None]) -> NDArray[np.float64]:
    """``of`` both predictions (2, n), NaN where it is None."""
    return np.array([[of(row.first) for row in rows], [of(row.second) for row in rows]], np.float64)


def _score_losses(score: NDArray[np.float64], positive: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Brier score and log loss (2, n) of both versions' scores (2, n) where the outcome (n) is 1.0, 0.0 or, unknown, NaN."""
    sound = np.where((score >= 0.0) & (score <= 1.0), score, np.nan)
    clipped = np.clip(sound, LOG_CLIP, 1 - LOG_CLIP)
    loss = -np.log(np.where(positive == 1, clipped, 1 - clipped))
    return {"brier": (sound - positive) ** 2, "log_loss": np.where(np.isnan(positive), np.nan, loss)}
