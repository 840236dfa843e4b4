"""Converts a chunk of one version's predictions to columns (NumPy arrays), and checks types, bounds and bins of each column."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence, Set
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.class_names import class_name, is_positive
from tidegauge.engine import pseudonyms
from tidegauge.engine.events import MAX_FEATURES, MAX_NAME, Nested, Prediction, Scalar
from tidegauge.join.score import negative_classes, read_otherwise
from tidegauge.join.values import as_number, category_codes, class_codes, numbers_of
from tidegauge.profile.attribution import AttributionColumns
from tidegauge.profile.category import MISMATCH_CODE, MISSING_CODE, NONE_FURTHER, CategoryColumn, KnownValues
from tidegauge.profile.data import (
    PREDICTED_NEGATIVE,
    PREDICTED_NONE,
    PREDICTED_POSITIVE,
    RESOURCES,
    RESULT_CLASS,
    RESULT_NUMBERS,
    DataColumns,
    UnexpectedFeature,
)
from tidegauge.profile.numeric import NumericColumns
from tidegauge.profile.schema import ATTRIBUTION, RESERVED, SCORE_FEATURE, VALUE_FEATURE, Schema, bin_codes
from tidegauge.profile.score_grid import score_bins
from tidegauge.spec import FeatureSpec, ModelSpec

_NUMBERS = frozenset((float, int))
_NUMBER_TYPES = _NUMBERS | {type(None)}
_FLOAT_TYPES = frozenset((float, type(None)))
_TEXT_TYPES = frozenset((str, type(None)))


class FeatureNames(NamedTuple):
    """The names of features, and of attributions, that are counted separately if no baseline names them."""

    features: Set[str]
    attributions: Set[str]


def data_columns(
    events: Sequence[Prediction], spec: ModelSpec, schema: Schema | None, counted: FeatureNames | None = None
) -> DataColumns:
    """Predictions of one version as columns. ``schema``: that of the baseline, None while there is none; ``counted``: the
    features that are counted separately if the schema names none, None for the most common ones of these events."""
    features = [event.features for event in events]
    numbers: list[tuple[str, list[Scalar]]] = []
    texts: list[tuple[str, list[Scalar]]] = []
    x: NDArray[np.float64] | None = None
    unexpected: list[UnexpectedFeature] = []
    secret = pseudonyms.key()
    dropped = {name for name, f in spec.features.items() if f.pii == "drop" or (f.pii == "hash" and secret is None)}
    # A hash is a category, whatever the value was, and whatever a baseline from before says of the feature.
    hashed = {name for name, f in spec.features.items() if f.pii == "hash"} - dropped
    if schema is None:
        names = frozenset().union(*features) - dropped  # type: ignore[arg-type]
        refused = {name for name in names if not is_feature_name(name)}
        if counted is not None:
            refused.update(names - counted.features)
        elif len(names) - len(refused) > MAX_FEATURES:
            # The most common names are kept, so that names made of ids do not displace others.
            common = Counter(name for row in features for name in row or () if name in names)
            ranked = sorted(names - refused, key=lambda name: (-common[name], name))
            refused.update(ranked[MAX_FEATURES:])
        if refused:
            unexpected = [
                UnexpectedFeature(i, class_name(name.removeprefix(RESERVED)))
                for i, row in enumerate(features)
                for name in row or ()
                if name in refused
            ]
        wanted = tuple(sorted(names - refused))
        if not hashed and {of.type for of in spec.features.values()} <= {None, "number"}:
            x = _all_floats(wanted, features)
        for name in wanted if x is None else ():
            column = [row.get(name) for row in features]  # type: ignore[union-attr]
            declared = spec.features.get(name, FeatureSpec()).type
            kinds = set(map(type, column)) - {type(None), Nested}
            if name not in hashed and (declared == "number" or (declared is None and (not kinds or kinds & _NUMBERS))):
                numbers.append((name, column))
            if name in hashed or declared in ("category", "boolean") or (declared is None and kinds - _NUMBERS):
                texts.append((name, column))
    else:
        present = 0
        wanted = tuple(name for name in schema.edges if is_feature_name(name) and name not in dropped | hashed)
        x = _all_floats(wanted, features)
        if x is not None:
            present += x.size
        else:
            for name in wanted:
                column, held = _column(name, features)
                present += held
                numbers.append((name, column))
        for name in schema.values:
            if is_feature_name(name) and name not in dropped:
                column, held = _column(name, features)
                present += held
                texts.append((name, column))
        if sum(map(len, features)) != present:  # type: ignore[arg-type]
            known = {name for name in (*schema.edges, *schema.values) if is_feature_name(name)} | dropped
            unexpected = [
                UnexpectedFeature(i, class_name(name.removeprefix(RESERVED)))
                for i, row in enumerate(features)
                for name in row or ()
                if name not in known
            ]
    errors = [event.error for event in events]
    given = [event.prediction for event in events]
    error = abstained = np.zeros(len(events), bool)
    if errors.count(None) < len(errors):
        error = np.array([text is not None for text in errors])
    if error.any() or None in given or msgspec.UNSET in given:
        # Without a value and a score the model abstained, unless the inference failed.
        scored = np.array([e.score is not None and e.prediction is not None for e in events])
        given = [None if value is msgspec.UNSET else value for value in given]
        abstained = np.array([value is None for value in given]) & ~scored & ~error
    results, classes = _results(events, given, spec, schema), _classes(given, spec, schema)
    return DataColumns(
        _numbers(numbers, len(events), spec, schema) if x is None else _judged(wanted, x, None, spec, schema),
        [_category(name, column, spec, schema) for name, column in texts],
        results,
        classes,
        error,
        abstained,
        unexpected,
        [event.request_id for event in events],
        _scores(results.x[0], classes, spec),
        _attributions(events, schema, counted),
        _other_results(results, classes, spec, schema),
    )


def is_feature_name(name: str) -> bool:
    """Whether a name is valid for a feature: it is not too long, and not reserved for the prediction itself."""
    return not name.startswith(RESERVED) and len(name) <= MAX_NAME


def _all_floats(names: tuple[str, ...], features: Sequence[Any]) -> NDArray[np.float64] | None:
    """The values (F, n) of features that every row has as a number; None unless all are."""
    if len(names) < 2 or not features:
        return None
    try:
        flat = list(chain.from_iterable(map(itemgetter(*names), features)))
        x = np.frombuffer(array("d", flat))
    except (KeyError, TypeError, OverflowError):
        return None
    # The array accepts integers, which are valid, but also booleans, which are not.
    if ((x == 0.0) | (x == 1.0)).any() and bool in set(map(type, flat)):
        return None
    return np.ascontiguousarray(x.reshape(len(features), len(names)).T)


def _column(name: str, features: Sequence[Any]) -> tuple[list[Scalar], int]:
    """The values of a feature, None for rows without it, and the number of rows that have it."""
    try:
        return list(map(itemgetter(name), features)), len(features)
    except KeyError:
        return [row.get(name) for row in features], sum(name in row for row in features)


def _numbers(
    columns: list[tuple[str, list[Scalar]]], rows: int, spec: ModelSpec, schema: Schema | None
) -> NumericColumns:  # fmt: skip
    names = tuple(name for name, _ in columns)
    x = np.empty((len(columns), rows))
    mismatch: NDArray[np.bool_] | None = None
    for f, (name, column) in enumerate(columns):
        kinds = set(map(type, column))
        x[f] = column if kinds <= _FLOAT_TYPES else [as_number(value) for value in column]
        if kinds <= _NUMBER_TYPES:
            continue
        settled = schema is not None or spec.features.get(name, FeatureSpec()).type == "number"
        # Until a baseline determines the type, texts among numbers are not counted as type mismatches.
        allowed = _NUMBER_TYPES if settled else _NUMBER_TYPES | {str, bool}
        flags = np.fromiter((type(value) not in allowed for value in column), bool, rows)
        if flags.any():
            if mismatch is None:
                mismatch = np.zeros(x.shape, bool)
            mismatch[f] = flags
    return _judged(names, x, mismatch, spec, schema)


def _judged(
    names: tuple[str, ...], x: NDArray[np.float64], mismatch: NDArray[np.bool_] | None, spec: ModelSpec, schema: Schema | None
) -> NumericColumns:
    """Values (F, n) with the bounds of the spec and the bins of the schema applied."""
    outside: NDArray[np.bool_] | None = None
    rows = x.shape[1]
    for f, name in enumerate(names):
        low, high = _bounds(name, spec)
        if low is not None or high is not None:
            flags = np.zeros(rows, bool)
            if low is not None:
                flags |= x[f] < low
            if high is not None:
                flags |= x[f] > high
            if outside is None:
                outside = np.zeros(x.shape, bool)
            outside[f] = flags
    bins = None
    if schema is not None:
        bins = np.stack([bin_codes(x[f], schema.edges[name]) for f, name in enumerate(names)]) if names else None
    return NumericColumns(names, x, mismatch, outside, bins, *_of_schema(schema))


def _of_schema(schema: Schema | None) -> tuple[str | None, int]:
    return (None, 0) if schema is None else (schema.id, schema.width)


def _bounds(name: str, spec: ModelSpec) -> tuple[float | None, float | None]:
    feature = spec.features.get(name)
    return (feature.min, feature.max) if feature else (None, None)


def _category(name: str, column: list[Scalar], spec: ModelSpec, schema: Schema | None) -> CategoryColumn:
    feature = spec.features.get(name, FeatureSpec())
    known = None
    if feature.values is not None:
        known = KnownValues(frozenset(feature.values))
    elif schema is not None and name in schema.values:
        known = KnownValues(schema.values[name], schema.further.get(name, NONE_FURTHER))
    declared = feature.type in ("category", "boolean") or feature.pii == "hash"
    kinds = set(map(type, column))
    if not kinds <= _TEXT_TYPES:
        text_only = schema is not None and name in schema.texts
        undecided = schema is None and not declared
        refused = {Nested} | (_NUMBERS | {bool} if text_only else _NUMBERS if undecided else frozenset())
        # Until a baseline determines the type, numbers among texts are not counted as type mismatches.
        code = MISSING_CODE if undecided else MISMATCH_CODE
        flags = np.fromiter((type(value) in refused for value in column), bool, len(column))
        column = [None if isinstance(value, Nested) else value for value in column]
    else:
        code, flags = MISSING_CODE, None
    if feature.pii == "hash":
        secret = pseudonyms.key()
        column = [None if v is None or secret is None else pseudonyms.pseudonym(class_name(v), secret) for v in column]
    codes, values = category_codes(column)
    if flags is not None:
        codes[flags] = code
    return CategoryColumn(name, codes, values, places=None if known is None else known.places(values))


def _results(events: Sequence[Prediction], given: list[Any], spec: ModelSpec, schema: Schema | None) -> NumericColumns:
    resources = [event.resources for event in events]
    held = frozenset[str]().union(*(of for of in resources if of)) if resources.count(None) < len(resources) else ()
    measured = tuple(name for name in RESOURCES if name in held)
    names = RESULT_NUMBERS + measured
    x = np.full((len(names), len(events)), np.nan)
    for row, name in enumerate(RESULT_NUMBERS[:4]):
        column = list(map(attrgetter(name), events))
        if column.count(None) < len(column):
            x[row] = column
    for row, name in enumerate(measured, len(RESULT_NUMBERS)):
        x[row] = [None if of is None else of.get(name) for of in resources]
    mismatch = None
    if spec.task != "binary" and spec.task != "multiclass":
        x[4] = numbers_of(given, spec)
    if spec.task == "regression" and np.isnan(x[4]).any():
        mismatch = np.zeros(x.shape, bool)
        mismatch[4] = np.isnan(x[4]) & [value is not None for value in given]
    bins = None
    if schema is not None:
        bins = np.zeros(x.shape, np.int64)
        for row, name in ((0, SCORE_FEATURE), (4, VALUE_FEATURE)):
            if name in schema.edges:
                bins[row] = bin_codes(x[row], schema.edges[name])
    return NumericColumns(names, x, mismatch, None, bins, *_of_schema(schema))


def _other_results(
    results: NumericColumns, classes: CategoryColumn, spec: ModelSpec, schema: Schema | None
) -> NumericColumns | None:
    """The results with scores that are confidences read the other way; None if that makes no difference."""
    negatives = negative_classes(classes.values, spec)
    if not negatives:
        return None
    score, confidence = results.x[:2]
    # The code of a missing class, -1, selects the last element.
    negative = np.array([*(name in negatives for name in classes.values), False])[classes.codes]
    other = read_otherwise(score, negative & (score == confidence))
    if other is None:
        return None
    x, bins = results.x.copy(), results.bins
    x[0] = other
    if bins is not None and schema is not None and SCORE_FEATURE in schema.edges:
        bins = bins.copy()
        bins[0] = bin_codes(other, schema.edges[SCORE_FEATURE])
    return NumericColumns(results.names, x, None, None, bins, *_of_schema(schema))


def _classes(given: list[Any], spec: ModelSpec, schema: Schema | None) -> CategoryColumn:
    if spec.task == "regression":
        return CategoryColumn(RESULT_CLASS, np.full(len(given), MISSING_CODE), [])
    codes, values = class_codes(given)
    return CategoryColumn(RESULT_CLASS, codes, values)


def _scores(score: NDArray[np.float64], classes: CategoryColumn, spec: ModelSpec) -> NDArray[np.int64] | None:
    """Keys (n) of the score histogram: the predicted class and the score's bin; -1 without a probability."""
    if spec.task == "regression":
        return None
    scored = (score >= 0.0) & (score <= 1.0)
    if not scored.any():
        return None
    of_truth = {True: PREDICTED_POSITIVE, False: PREDICTED_NEGATIVE, None: PREDICTED_NONE}
    predicted = [of_truth[spec.task == "multiclass" or is_positive(name, spec.positive_label)] for name in classes.values]
    # The code of a missing class, -1, selects the last element.
    begin = np.array([*predicted, PREDICTED_NONE])
    keys = begin[classes.codes] + score_bins(np.where(scored, score, 0.0))
    return np.where(scored, keys, -1)


def _attributions(
    events: Sequence[Prediction], schema: Schema | None, counted: FeatureNames | None
) -> AttributionColumns | None:
    """The attributions of those features for which the baseline has some; without a baseline, or if it has none, of all."""
    given = list(map(attrgetter("attributions"), events))
    if given.count(None) == len(given):
        return None
    rows = np.array([i for i, of in enumerate(given) if of], np.intp)
    explained: list[dict[str, float | None]] = [of for of in given if of]
    names = schema.attributions if schema is not None else ()
    if not names:
        found = frozenset().union(*explained)
        allowed = found if counted is None else found & counted.attributions
        names = tuple(sorted(name for name in allowed if is_feature_name(name))[:MAX_FEATURES])
    if not names:
        return None
    x = np.array([[of.get(name) for of in explained] for name in names], np.float64)
    bins = None
    if schema is not None and schema.attributions:
        bins = np.stack([bin_codes(x[f], schema.edges[ATTRIBUTION + name]) for f, name in enumerate(names)])
    return AttributionColumns(rows, NumericColumns(names, x, None, None, bins, *_of_schema(schema)), len(events))
