"""Converts outcomes (labels and KPIs) of one version's predictions to columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.class_names import by_class, is_positive, outcome_class
from tidegauge.join.request_state import unpack_values
from tidegauge.join.score import negative_classes, read_otherwise
from tidegauge.join.values import numbers_of
from tidegauge.profile.kpi import derived
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.score_counts import LOG_CLIP
from tidegauge.profile.sums import within_reach
from tidegauge.spec import ModelSpec

WHOLE = 0.99
"""Probabilities whose sum is at least this leave no room for a further class."""
ROUNDING = 1e-6
"""How far a probability may be outside of the range from 0 to 1."""


class OutcomeRow(msgspec.Struct, gc=False):
    """One outcome, to be added (``sign`` 1) or taken back (-1).

    ``context``, ``ts``, ``value``, ``score``, ``probabilities``: of its prediction. ``label_ts``: the label's ``ts``, NaN if
    none was sent. ``first``: whether it is the prediction's first outcome, which online detectors get. ``request_id``: in
    UTF-8. ``arrived``: event time of the change. ``implied``: whether it is implied by a missing label.
    """

    context: int
    ts: float
    value: int | float | str | bool | None
    score: float | None
    probabilities: dict[str, float | None] | None
    label: int | float | str | bool | None
    business: dict[str, float] | None
    label_ts: float
    sign: int
    first: bool
    request_id: bytes
    arrived: float
    implied: bool = False


def outcome_columns(rows: Sequence[OutcomeRow], spec: ModelSpec) -> OutcomeColumns:
    """Outcomes of one version as columns."""
    n = len(rows)
    probabilities = [row.probabilities for row in rows]
    return _outcome_columns(
        [row.value for row in rows],
        [row.label for row in rows],
        np.array([row.score for row in rows], np.float64),
        probabilities if any(probabilities) else None,
        [row.business for row in rows],
        np.fromiter((row.sign for row in rows), np.int64, n),
        np.fromiter((np.nan if row.implied else row.label_ts - row.ts for row in rows), np.float64, n),
        [row.request_id for row in rows] if rows[0].request_id else (),
        spec,
        np.fromiter((row.implied for row in rows), bool, n),
    )


def joined_columns(table: NDArray[np.void], request_ids: Sequence[bytes], spec: ModelSpec) -> OutcomeColumns:
    """Outcomes of one version, known for the first time, as columns. ``table`` (n): rows of the layout JOINED of
    ``join/request_state.py``."""
    values, labels = unpack_values(table["kind"], table["value"]), unpack_values(table["label_kind"], table["label"])
    ones, delays = np.ones(len(table), np.int64), table["label_ts"] - table["ts"]
    return _outcome_columns(values, labels, table["score"], None, (), ones, delays, request_ids, spec)


def _outcome_columns(
    values: list[Any], labels: list[Any], score: NDArray[np.float64], probabilities: Sequence[Any] | None,
    kpis: Sequence[dict[str, float] | None], sign: NDArray[np.int64], delay: NDArray[np.float64],
    request_ids: Sequence[bytes], spec: ModelSpec, implied: NDArray[np.bool_] | None = None,
) -> OutcomeColumns:  # fmt: skip
    n = len(values)
    predicted: Sequence[str | None] = [None] * n
    actual: Sequence[str | None] = predicted
    numbers = None
    if spec.task != "regression":
        names = _ClassNames({None: None})
        predicted, actual = list(map(names.__getitem__, values)), list(map(names.__getitem__, labels))
    if spec.task in (None, "regression"):
        numbers = np.array([numbers_of(values, spec), numbers_of(labels, spec)])
    positive = np.full(n, -1)
    if spec.task in (None, "binary"):
        truths = {name: -1 if name is None else _truth(name, spec) for name in set(actual)}
        positive = np.fromiter(map(truths.__getitem__, actual), np.int64, n)
    loss = hit = other_score = None
    if negatives := negative_classes(set(predicted), spec):
        other_score = read_otherwise(score, np.fromiter(map(negatives.__contains__, predicted), bool, n))
    if spec.task == "multiclass" and not np.isnan(score).all():
        pairs = zip(predicted, actual, strict=True)
        hit = np.fromiter((-1 if p is None or a is None else p == a for p, a in pairs), np.int64, n)
    if spec.task in (None, "multiclass") and probabilities:
        loss = np.array([class_log_loss(p, name) for p, name in zip(probabilities, actual, strict=True)])
    business = {
        kpi: within_reach(np.array([row.get(kpi, np.nan) if row else np.nan for row in kpis]))
        for kpi in sorted(frozenset().union(*(row for row in kpis if row)))
    }
    if spec.kpis:
        business |= derived(business, spec.kpis)
    labelled = np.ones(n, bool)
    if None in labels:
        labelled = np.fromiter((label is not None for label in labels), bool, n)
    unreadable = labelled & np.isnan(numbers[1]) if spec.task == "regression" and numbers is not None else None
    return OutcomeColumns(
        sign, labelled, predicted, actual, numbers, score, positive, loss, business, delay, request_ids, hit, implied,
        other_score, unreadable,
    )  # fmt: skip


def _truth(name: str, spec: ModelSpec) -> int:
    """1 for the positive class, 0 for another, -1 if it is unknown which class is positive."""
    positive = is_positive(name, spec.positive_label)
    return -1 if positive is None else int(positive)


class _ClassNames(dict[Any, str | None]):
    def __missing__(self, value: Any) -> str:
        name = self[value] = outcome_class(value)
        return name


def class_log_loss(probabilities: dict[str, float | None] | None, actual: str | None) -> float:
    """The log loss of one row: the negative logarithm of the probability given to the actual class. NaN if that is unknown: if
    a value is not a probability, or if the class is not given and the given ones leave room for it.

    >>> class_log_loss({"a": 0.5, "b": 0.5}, "a"), class_log_loss({"a": 0.5}, "b"), class_log_loss({"a": 50.0, "b": 50.0}, "a")
    (0.6931471805599453, nan, nan)
    """
    if not probabilities or actual is None:
        return np.nan
    given = by_class(probabilities)
    if actual not in given and sum(p or 0.0 for p in given.values()) < WHOLE:
        return np.nan
    p = given.get(actual) or 0.0
    return float(-np.log(np.clip(p, LOG_CLIP, 1 - LOG_CLIP))) if -ROUNDING <= p <= 1 + ROUNDING else np.nan
