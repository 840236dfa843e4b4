"""Builds the metrics record: all numbers that are published of one window of one segment of a model version."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.isotonic import Calibration
from tidegauge.baseline.scored import PERFORMANCE, SCORES
from tidegauge.metrics.attributions import attributions
from tidegauge.metrics.business import business, business_intervals, kpi_values_left_out
from tidegauge.metrics.calibration import calibration_numbers
from tidegauge.metrics.confidence_reading import misread_confidence
from tidegauge.metrics.drift import Against, category_drift, missing_before, number_drift, number_drifts
from tidegauge.metrics.estimated import estimated
from tidegauge.metrics.label_mix import LABEL_MIX, label_mixes_of
from tidegauge.metrics.members import computed, united
from tidegauge.metrics.performance import performance
from tidegauge.metrics.performance_counts import performance_counts
from tidegauge.metrics.performance_interval import performance_intervals
from tidegauge.metrics.performance_z import performance_z
from tidegauge.metrics.positive_class import unknown_class_ratio
from tidegauge.metrics.published import segment_features
from tidegauge.metrics.segment_columns import Features, KnownNumbers
from tidegauge.metrics.shift import missing_shift
from tidegauge.metrics.system import system
from tidegauge.profile import distinct
from tidegauge.profile.category import NEW, NONE_FURTHER, OTHER, CategorySummary, KnownValues
from tidegauge.profile.data import DataProfile
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.outcome import MAX_OUTSIDE, OutcomeProfile
from tidegauge.profile.schema import CLASS_FEATURE, SCORE_FEATURE, VALUE_FEATURE, Schema
from tidegauge.spec import ModelSpec


class Window(msgspec.Struct, frozen=True):
    """One tumbling window: the name of its length (such as ``5m``), its start and its end (Unix seconds)."""

    length: str
    start: float
    end: float


def iso(seconds: float) -> str:
    """Unix seconds as RFC 3339 in UTC.

    >>> iso(1758931200.0)
    '2025-09-27T00:00:00Z'
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds").replace("+00:00", "Z")


def numbers(
    data: DataProfile, outcome: OutcomeProfile, spec: ModelSpec, baseline: Baseline | None, seconds: float | None,
    calibration: Calibration | None, window: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All members of a record that follow from the profiles alone. For the arguments see ``data_side`` and ``outcome_side``."""
    side = data_side(data, spec, baseline, seconds, calibration, window)
    return united(side, outcome_side(outcome, data.predictions, spec, baseline, window))


def reference_numbers(
    data: DataProfile, outcome: OutcomeProfile, spec: ModelSpec, schema: Schema, baseline: Baseline | None = None,
    calibration: Calibration | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Like ``numbers``, but of the data that a baseline is built from. Its ``unseen_ratio`` is what is to be expected of a
    window of similar data; for a feature of ids, nearly every value is new."""
    said = numbers(data, outcome, spec, baseline, None, calibration)
    for name, category in data.categories.items():
        declared = name in spec.features and spec.features[name].values
        if not declared and "unseen_ratio" in said["data"]["features"].get(name, {}):
            further = schema.further.get(name, NONE_FURTHER)
            said["data"]["features"][name]["unseen_ratio"] = category.expected_unseen(0 if further is None else len(further))
    return said


def data_side(
    data: DataProfile, spec: ModelSpec, baseline: Baseline | None, seconds: float | None, calibration: Calibration | None,
    window: str | None = None, *, drift: bool = True, known: KnownNumbers | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The members that follow from predictions alone. ``seconds``: the window's length, for rates; ``calibration``: maps scores
    to probabilities; ``window``: the name of the window's length, None for windows of the baseline itself; ``drift``,
    ``known``: as in ``data_members``."""
    own = computed({
        "system": lambda: system(data, seconds),
        "estimated": lambda: estimated(data.scores, calibration, spec.task) if _are_probabilities(data) else None,
    })  # fmt: skip
    return {"predictions": data.predictions, "system": {}} | united(
        own, data_members(data, spec, baseline, window, drift, known)
    )


def label_coverage(outcome: OutcomeProfile, predictions: int) -> dict[str, Any]:
    """The number of labels, the share of predictions that have one, and the delay of labels."""
    side: dict[str, Any] = {"labels": outcome.labels}
    if predictions:
        side["coverage"] = (outcome.labels - outcome.implied) / predictions
    if outcome.implied:
        side["implied_labels"] = outcome.implied
    delays = outcome.delay_quantiles((0.5, 0.95))
    if delays:
        side["label_delay_seconds"] = dict(zip(("p50", "p95"), delays, strict=True))
    return side


def outcome_side(
    outcome: OutcomeProfile, predictions: int, spec: ModelSpec, baseline: Baseline | None, window: str | None = None,
    *, bins: bool = True, mix: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The members that follow from labels. ``predictions``: the number of predictions; ``window``: as in ``data_side``;
    ``bins``: as in ``calibration_numbers``; ``mix``: the member ``label_mix`` if it is known."""
    side = label_coverage(outcome, predictions)
    if spec.task == "regression" and outcome.labels:
        side["unreadable_label_ratio"] = outcome.unreadable / outcome.labels
    side |= computed({"performance": lambda: performance(outcome, spec.task, spec.positive_label)})
    performed = side.get("performance", {})
    return united(side, computed({
        "performance_counts": lambda: performance_counts(outcome, spec.task),
        PERFORMANCE: lambda: performance_z(performed, outcome.labels, baseline, spec),
        "performance_interval": lambda: performance_intervals(outcome, spec.task, spec.positive_label),
        "calibration": lambda: {} if spec.task in ("multiclass", "regression") else calibration_numbers(outcome, bins=bins),
        LABEL_MIX: lambda: label_mixes_of([(outcome, baseline)], spec, window)[0] if mix is None else mix,
        "business": lambda: business(outcome, spec.kpis, None if baseline is None else baseline.outcome),
        "kpi_values_left_out": lambda: kpi_values_left_out(outcome),
        "further_classes": lambda: outcome.further_classes,
    }))  # fmt: skip


def _no_probability_ratio(data: DataProfile) -> float:
    """The share of the scores that lie outside 0 to 1."""
    row = data.results.index("score")
    given = 0 if row is None else int(data.results.count[row])
    return (given - int(data.scores.counts.sum())) / given if given else 0.0


def _are_probabilities(data: DataProfile) -> bool:
    return _no_probability_ratio(data) <= MAX_OUTSIDE


def intervals(outcome: OutcomeProfile, spec: ModelSpec, baseline: OutcomeProfile | None, level: float) -> dict[str, Any]:
    """Confidence intervals at ``level`` of the numbers that follow from labels, nested like a record."""
    return {
        "performance": performance_intervals(outcome, spec.task, spec.positive_label, level),
        "business": business_intervals(outcome, spec.kpis, baseline, level),
    }


def data_members(
    data: DataProfile, spec: ModelSpec, baseline: Baseline | None, window: str | None = None, drift: bool = True,
    known: KnownNumbers | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The members ``data``, ``prediction`` and, if events carry them, ``attributions``. Without ``drift`` the distances from
    the baseline, which take most of the time, are left out. ``known``: of a segment, if it was computed together
    with others; then all of ``data`` is as it is published."""
    against = Against(baseline, window, data.predictions) if baseline is not None and drift else None
    side: dict[str, Any] = {"data": {"features": {}}, "prediction": {}}
    side |= computed({
        "data": lambda: (
            data_numbers(data, baseline, against) if known is None else _segment_data(data, baseline, against, known.features)
        ),
        "prediction": lambda: prediction(data, spec, against, None if known is None else known.score_drift),
        "attributions": lambda: attributions(data.attributions, against),
    })  # fmt: skip
    side |= side.pop("attributions", {})
    return side


def data_numbers(data: DataProfile, baseline: Baseline | None, reference: Against | None) -> dict[str, Any]:
    """The numbers of every feature, and the lists of features that are missing entirely or unexpected."""
    features: dict[str, Any] = {}
    block = data.features
    counts = dict(zip(block.names, block.count.tolist(), strict=True))
    others = {name: of.count for name, of in data.categories.items()}
    rows = {name: row for row, (name, count) in enumerate(counts.items()) if others.get(name, 0) <= count}
    drifts: dict[str, dict[str, Any]] = {}
    if reference is not None:
        binned = reference.baseline.schema.bins
        drifts = number_drifts(block, {name: row for name, row in rows.items() if name in binned}, reference)
    for (name, row), moments in zip(rows.items(), _moments(block, list(rows.values())), strict=True):
        numbers = number_feature(block, row, name, moments, reference, others.get(name, 0))
        features[name] = _merged(numbers, _finite(drifts.get(name, {})))
    for name, category in data.categories.items():
        if name not in features:
            features[name] = category_feature(category, name, reference, counts.get(name, 0))
    return _with_schema({"features": dict(sorted(features.items()))}, data, baseline)


def _segment_data(
    data: DataProfile, baseline: Baseline | None, reference: Against | None, numbers: Features
) -> dict[str, Any]:  # fmt: skip
    """``data_numbers`` as they are published of a segment, given its numeric features."""
    categories = [category_feature(of, name, reference) for name, of in data.categories.items()]
    features = numbers | dict(zip(data.categories, segment_features(categories), strict=True))
    return _with_schema({"features": dict(sorted(features.items()))}, data, baseline)


def _moments(block: NumericBlock, rows: list[int]) -> list[dict[str, float]]:
    """Mean, standard deviation, extremes and median of the features in these ``rows`` of the block, if they can be computed."""
    with np.errstate(invalid="ignore"):
        deviations = np.sqrt(np.maximum(block.m2, 0.0) / np.maximum(block.count, 1)).tolist()
    columns = (block.mean.tolist(), deviations, block.low.tolist(), block.high.tolist(), block.values.medians())
    features, names = list(zip(*columns, strict=True)), ("mean", "std", "min", "max", "p50")
    found = [dict(zip(names, features[row], strict=True)) for row in rows]
    # A sum is finite only if all of its terms are.
    return [numbers if math.isfinite(sum(numbers.values())) else _finite(numbers) for numbers in found]


def _finite(numbers: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in numbers.items() if not isinstance(value, float) or math.isfinite(value)}


def counted(data: DataProfile, baseline: Baseline | None) -> dict[str, Any]:
    """The cheap part of ``data_numbers``: the count and ratios of each feature, and the deviations from the schema."""
    features: dict[str, Any] = {}
    block = data.features
    rows = zip(block.count.tolist(), block.missing.tolist(), block.mismatch.tolist(), block.out_of_range.tolist(), strict=True)
    for name, (count, missing, mismatch, outside) in zip(block.names, rows, strict=True):
        category = data.categories.get(name)
        other = 0 if category is None else category.count
        if other <= count:
            features[name] = _ratios(count, missing - other, mismatch + other, "out_of_range_ratio", outside)
    for name, category in data.categories.items():
        if name not in features:
            row = block.index(name)
            other = 0 if row is None else int(block.count[row])
            counts = category.count, category.missing - other, category.mismatch + other
            unseen = _unseen(category, name, None if baseline is None else baseline.schema)
            features[name] = _ratios(*counts, "unseen_ratio", unseen)
    return _with_schema({"features": dict(sorted(features.items()))}, data, baseline)


def _ratios(count: int, missing: int, mismatch: int, name: str, odd: int) -> dict[str, Any]:
    """Counts as ratios of all events; only ``odd``, whose ratio is called ``name``, is a ratio of the feature's values."""
    total = count + missing + mismatch
    if not total:
        return {"count": 0}
    found = {"count": total, "missing_ratio": missing / total, "type_mismatch_ratio": mismatch / total}
    return found | {name: odd / count} if count else found


def _with_schema(numbers: dict[str, Any], data: DataProfile, baseline: Baseline | None) -> dict[str, Any]:
    if baseline is not None:
        numbers["missing_features"] = [
            name for name, of in numbers["features"].items()
            if of.get("missing_ratio") == 1.0 and _was_present(name, baseline.data)
        ]  # fmt: skip
        for name in [name for name, hashes in baseline.schema.further.items() if hashes is None]:
            # The baseline has more values than could be kept, so it is unknown which are new.
            numbers["features"].get(name, {}).pop("unseen_ratio", None)
    unexpected = set(data.unexpected)
    if baseline is not None:
        unexpected |= {
            name for name, of in numbers["features"].items()
            if name in baseline.always_missing and of.get("missing_ratio", 1.0) < 1.0
        }  # fmt: skip
    numbers["unexpected_features"] = sorted(unexpected)
    return numbers


def _was_present(name: str, data: DataProfile) -> bool:
    row = data.features.index(name)
    return (row is not None and data.features.count[row] > 0) or data.categories.get(name, CategorySummary()).count > 0


def number_feature(
    block: NumericBlock, row: int, name: str, moments: dict[str, float], against: Against | None, mistyped: int = 0
) -> dict[str, Any]:
    """The members of one numeric feature without drift. Ratios are of all events, ``out_of_range_ratio`` is of the values."""
    count = int(block.count[row])
    missing, mismatch = int(block.missing[row]) - mistyped, int(block.mismatch[row]) + mistyped
    total = count + missing + mismatch
    numbers = _ratios(count, missing, mismatch, "out_of_range_ratio", int(block.out_of_range[row]))
    if against is not None and total:
        numbers |= _missing(name, missing, total, against)
    if not count:
        return numbers
    if len(block.distinct[row]):
        numbers["distinct"] = distinct.estimate(block.distinct[row])
    return numbers | moments


def category_feature(summary: CategorySummary, name: str, against: Against | None, mistyped: int = 0) -> dict[str, Any]:
    """The members of one categorical feature. Ratios are of all events, ``unseen_ratio`` is of the values."""
    count = summary.count
    missing, mismatch = summary.missing - mistyped, summary.mismatch + mistyped
    total = count + missing + mismatch
    unseen = _unseen(summary, name, None if against is None else against.baseline.schema)
    numbers = _ratios(count, missing, mismatch, "unseen_ratio", unseen)
    if against is not None and total:
        numbers |= _missing(name, missing, total, against)
    if not count:
        return numbers
    if len(summary.distinct):
        numbers["distinct"] = distinct.estimate(summary.distinct)
    if against is not None and name in against.baseline.schema.values:
        reference = against.baseline.data.categories.get(name)
        if reference is not None:
            if name in against.baseline.schema.further:
                # The most common values were selected by their counts. Compared by the same counts, they would always seem to
                # have become rarer.
                return numbers | {"bins": "commonest"}
            values = sorted(against.baseline.schema.values[name])
            path = f"data.features.{name}"
            numbers |= category_drift(summary, missing, reference, values, path, against.dispersions)
    return numbers


def _unseen(summary: CategorySummary, name: str, schema: Schema | None) -> int:
    """The number of values that the baseline has not seen: those counted as new, and those among the values that were counted
    before the baseline existed."""
    if schema is None or name not in schema.values:
        return summary.unseen
    early = [value for value in summary.counts.keys() - schema.values[name] if value != OTHER]
    if not early:
        return summary.unseen
    places = KnownValues(schema.values[name], schema.further.get(name, NONE_FURTHER)).places(early)
    return summary.unseen + sum(
        summary.counts[value] for value, place in zip(early, places.tolist(), strict=True) if place == NEW
    )


def _missing(name: str, missing: int, total: int, against: Against) -> dict[str, Any]:
    """The comparison of a feature's share of missing values with the baseline's."""
    before, whole = missing_before(name, against.baseline)
    return missing_shift(missing, total, before, whole, f"data.features.{name}", against.dispersions, against.rows)


def _merged(numbers: dict[str, Any], drift: dict[str, Any]) -> dict[str, Any]:
    """Both dictionaries as one, with the members ``shift_z`` of both merged."""
    scores = numbers.get(SCORES, {}) | drift.get(SCORES, {})
    return numbers | drift | ({SCORES: scores} if scores else {})


def answers(data: DataProfile, spec: ModelSpec) -> dict[str, float]:
    """Among the requests that did not fail, the share without an answer and, for a regression, the share whose answer is not a
    number; for other tasks, the share of the scores that are no probabilities, if there are any."""
    answered = data.predictions - data.errors
    if not answered:
        return {}
    numbers = {"abstain_ratio": data.abstained / answered}
    row = data.results.index("value")
    if spec.task == "regression" and row is not None:
        numbers["type_mismatch_ratio"] = int(data.results.mismatch[row]) / answered
    if spec.task != "regression" and (outside := _no_probability_ratio(data)):
        numbers["no_probability_ratio"] = outside
    return numbers


def prediction(
    data: DataProfile, spec: ModelSpec, against: Against | None, score_drift: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The member ``prediction``: scores, classes, abstentions, and their drift from the baseline, which may be known for
    scores."""
    numbers: dict[str, Any] = answers(data, spec)
    for source, member in (("score", "mean_score"), ("confidence", "mean_confidence"), ("value", "mean_value")):
        row = data.results.index(source)
        if row is not None and data.results.count[row]:
            numbers[member] = float(data.results.mean[row])
    if "mean_confidence" in numbers and spec.confidence_is != "predicted" and spec.task in (None, "binary"):
        numbers["misread_confidence"] = misread_confidence(data, spec)
        if data.reread:
            numbers["confidence_is"] = "predicted"
    classes = data.result_class
    named = unknown_class_ratio(classes.counts, spec.positive_label) <= MAX_OUTSIDE
    if classes.count and spec.task in (None, "binary") and named:
        numbers["positive_ratio"] = classes.counts.get(spec.positive_label, 0) / classes.count
    if classes.count and spec.task == "multiclass":
        numbers["class_ratio"] = {name: count / classes.count for name, count in sorted(classes.counts.items())}
    if against is None or score_drift is not None:
        return numbers | (score_drift or {})
    baseline = against.baseline
    for source, name in (("score", SCORE_FEATURE), ("value", VALUE_FEATURE)):
        row = data.results.index(source)
        if row is not None and name in baseline.schema.edges and data.results.count[row]:
            drift = number_drift(data.results, row, baseline.data.results, source, against, name, "prediction")
            return numbers | drift
    if CLASS_FEATURE in baseline.schema.values and classes.count:
        values = sorted(baseline.schema.values[CLASS_FEATURE])
        numbers |= category_drift(classes, 0, baseline.data.result_class, values, "prediction", against.dispersions)
    return numbers
