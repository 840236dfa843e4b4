"""Requests that several versions of a model answered, as the join stage meets them: pair by pair into pair profiles.

A pair belongs to the pane of the version whose name sorts first, whatever their roles: who is the champion is known to
the monitor stage only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.arrival import Places
from tidegauge.columns import as_number, class_codes, class_log_loss
from tidegauge.profile.category import MISSING_CODE
from tidegauge.profile.outcome import LOG_CLIP
from tidegauge.profile.pairs import PairColumns, PairProfile
from tidegauge.spec import ModelSpec

if TYPE_CHECKING:
    from tidegauge.contexts import Context
    from tidegauge.entries import Known, Predicted

PairKey = tuple[str, str, str]
"""Model, and the two versions in the order of their names."""


class PairRow(msgspec.Struct, gc=False):
    """One pair met (``fresh``), or one outcome of it to be added (``sign`` 1) or taken back (-1); ``known``: event time at
    which that became known."""

    first: Predicted
    second: Predicted
    label: int | float | str | bool | None
    sign: int
    fresh: bool
    known: float


class Pairs:
    """The pairs gathered since the last flush. Nothing happens for requests that one version answered."""

    def __init__(self, context: Callable[[int], Context], spec: Callable[[str], ModelSpec]) -> None:
        self._context, self._spec = context, spec
        self._rows: dict[PairKey, list[PairRow]] = {}

    def predicted(self, made: Predicted, others: Sequence[Predicted], known: Known | None) -> None:
        """``made`` answers a request that ``others`` have answered already."""
        for other in others:
            self._add(made, other, None, 0, True, 0.0)
            if known is not None:
                self._outcome(made, other, known, 1, known.ts)

    def labelled(self, predictions: Sequence[Predicted], old: Known | None, new: Known) -> None:
        """A request's outcome has become known, or has changed."""
        if old is not None and old.label == new.label and old.ts == new.ts:
            return
        for place, made in enumerate(predictions):
            for other in predictions[:place]:
                if old is not None:
                    self._outcome(made, other, old, -1, new.ts)
                self._outcome(made, other, new, 1, new.ts)

    def _outcome(self, made: Predicted, other: Predicted, known: Known, sign: int, since: float) -> None:
        if known.label is None:
            return
        horizon = self._spec(self._context(made.context).model).label_horizon
        if known.ts - made.ts <= horizon and known.ts - other.ts <= horizon:
            self._add(made, other, known.label, sign, False, since)

    def _add(self, made: Predicted, other: Predicted, label: Any, sign: int, fresh: bool, since: float) -> None:
        a, b = self._context(made.context), self._context(other.context)
        if a.model != b.model:
            return
        if b.version < a.version:
            a, b, made, other = b, a, other, made
        self._rows.setdefault((a.model, a.version, b.version), []).append(
            PairRow(made, other, label, sign, fresh, max(made.ts, other.ts, since))
        )

    def flush(self) -> Iterator[tuple[PairKey, tuple[int, float], PairProfile]]:
        """The pairs gathered, and which pane of the first version each profile belongs to, and when it arrived."""
        for key, rows in self._rows.items():
            spec = self._spec(key[0])
            places = Places(spec, np.array([row.first.ts for row in rows]), np.array([row.known for row in rows]))
            order = np.argsort(places.codes, kind="stable")
            starts = np.flatnonzero(np.append(True, np.diff(places.codes[order]) != 0))
            profiles = pair_columns(rows, spec).group(order, starts)
            codes = places.codes[order][starts].tolist()
            yield from ((key, places.of(code), of) for code, of in zip(codes, profiles, strict=True))
        self._rows.clear()


def pair_columns(rows: Sequence[PairRow], spec: ModelSpec) -> PairColumns:
    """The pairs of the same two versions, column-wise."""
    n = len(rows)
    fresh = np.fromiter((row.fresh for row in rows), bool, n)
    sign = np.fromiter((row.sign for row in rows), np.int64, n)
    sides = [[row.first for row in rows], [row.second for row in rows]]
    labels = [row.label for row in rows]
    said: dict[str, NDArray[np.float64]] = {}
    outcomes: dict[str, NDArray[np.float64]] = {}
    same_class = np.full(n, np.nan)
    if spec.task != "regression":
        codes, names = class_codes(
            value for column in (*([made.value for made in side] for side in sides), labels) for value in column
        )
        classes, actual = codes[: 2 * n].reshape(2, n), codes[2 * n :]
        answered = (classes != MISSING_CODE).all(axis=0)
        same_class[answered] = classes[0, answered] == classes[1, answered]
        outcomes["right"] = np.where((classes != MISSING_CODE) & (actual != MISSING_CODE), classes == actual, np.nan)
        score = np.array([[made.score for made in side] for side in sides], np.float64)
        said["score"] = score
        if spec.task != "multiclass":
            positive = names.index(spec.positive_label) if spec.positive_label in names else MISSING_CODE - 1
            outcomes |= _score_losses(score, np.where(actual == MISSING_CODE, np.nan, actual == positive))
        if spec.task != "binary" and any(made.probabilities for side in sides for made in side):
            truth = [None if code == MISSING_CODE else names[code] for code in actual.tolist()]
            outcomes["class_log_loss"] = np.array(
                [[class_log_loss(made.probabilities, of) for made, of in zip(side, truth, strict=True)] for side in sides]
            )
    if spec.task in (None, "regression"):
        said["value"] = np.array([[as_number(made.value) for made in side] for side in sides])
        outcomes["absolute"] = np.abs(said["value"] - np.array([as_number(label) for label in labels]))
    return PairColumns(fresh, sign, same_class, said, outcomes)


def _score_losses(score: NDArray[np.float64], positive: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Brier score and log loss (2, n) of two scores and an outcome (n) of 1.0, 0.0 or NaN."""
    sound = np.where((score >= 0.0) & (score <= 1.0), score, np.nan)
    clipped = np.clip(sound, LOG_CLIP, 1 - LOG_CLIP)
    return {
        "brier": (sound - positive) ** 2,
        "log_loss": -np.log(np.where(positive == 1, clipped, 1 - clipped)) + 0.0 * positive,
    }
