"""The numeric features of many segments of a window at once, as they are published: the same as ``metrics.record`` and
``metrics.published`` make of one segment.

A wide model has thousands of such features in a window. One by one, most of the time would go into Python's calls; and what is
not published of a segment is not computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import kolmogorov

from tidegauge.baseline.baseline import Baseline
from tidegauge.baseline.binning import counts_in
from tidegauge.metrics.distance import MIN_TESTED
from tidegauge.metrics.drift import reference_columns
from tidegauge.metrics.drift_columns import ReferenceColumns
from tidegauge.metrics.published import SEGMENT_DIGITS, rounded_locations
from tidegauge.metrics.rounding import to_digits
from tidegauge.metrics.shift_columns import DIRECTIONS, Factors, factors_of, number_shifts, shifts
from tidegauge.profile.data import DataProfile
from tidegauge.profile.numeric import NumericBlock
from tidegauge.profile.schema import BELOW, SCORE_FEATURE

_DIRECTIONS = np.array(DIRECTIONS)
Features = dict[str, dict[str, Any]]


class SegmentData(NamedTuple):
    """The predictions of one segment in a window, and its baseline; None if there is none."""

    data: DataProfile
    baseline: Baseline | None


class KnownNumbers(NamedTuple):
    """What is known of a segment: the published members of its numeric features, and the drift of its scores, None if it must
    be computed."""

    features: Features
    score_drift: dict[str, Any] | None


class _Column(NamedTuple):
    """One member of R features: its ``values`` (R), and which features are ``held`` to have it (R)."""

    values: NDArray[Any]
    held: NDArray[np.bool_]


class _Alike(NamedTuple):
    """Segments with the same features. ``names`` (F): of the features; ``compared``: the places in ``names`` of those that are
    compared with the baselines, () without baselines; ``schema``: the id of the schema of these, "" without any."""

    names: tuple[str, ...]
    compared: tuple[int, ...] = ()
    schema: str = ""


def number_features(segments: Sequence[SegmentData], window: str) -> list[Features | None]:
    """The published members of the numeric features of each segment; None for a segment whose features cannot be computed with
    those of others: because they hold other values besides numbers, or bins are not known. ``window``: the name of the length
    of the window."""
    alike: dict[_Alike, list[int]] = {}
    for number, of in enumerate(segments):
        kind = _kind(of)
        if kind is not None:
            alike.setdefault(kind, []).append(number)
    found: list[Features | None] = [None] * len(segments)
    for kind, numbers in alike.items():
        held = [segments[number] for number in numbers]
        members = _members(_columns(kind, held, window))
        width = len(kind.names)
        for place, number in enumerate(numbers):
            found[number] = dict(zip(kind.names, members[place * width : (place + 1) * width], strict=True))
    return found


def score_drifts(segments: Sequence[SegmentData], window: str) -> list[dict[str, Any] | None]:
    """The drift of the scores of each segment (``drift.number_drift``); None for a segment whose scores cannot be compared with
    those of others: because it has none, its bins are not known, or they are those of few values. ``window``: as in
    ``number_features``."""
    alike: dict[str, list[_Scored]] = {}
    for number, of in enumerate(segments):
        scored = _scored(number, of)
        if scored is not None:
            alike.setdefault(scored.baseline.schema.id, []).append(scored)
    found: list[dict[str, Any] | None] = [None] * len(segments)
    for held in alike.values():
        columns = ReferenceColumns.joined([of.columns for of in held])
        counts = np.array([of.counts for of in held])
        rows = [(of.baseline.dispersions(window), segments[of.number].data.predictions) for of in held]
        factors = Factors.joined([factors_of(["prediction"], *row) for row in rows])
        moved = number_shifts(counts, columns.contrasts, factors)
        for scores, drift, shift in zip(held, columns.drifts(counts), moved, strict=True):
            found[scores.number] = drift | shift
    return found


class _Scored(NamedTuple):
    """The ``number`` of a segment, its baseline, the columns of the scores there, and its ``counts`` (B) of scores by bin."""

    number: int
    baseline: Baseline
    columns: ReferenceColumns
    counts: NDArray[np.int64]


def _scored(number: int, of: SegmentData) -> _Scored | None:
    block, baseline = of.data.results, of.baseline
    row = block.index("score")
    if baseline is None or row is None or not block.count[row] or SCORE_FEATURE not in baseline.schema.bins:
        return None
    reference, schema = baseline.data.results, baseline.schema
    before = reference.index("score")
    if before is None or not reference.count[before] or not reference.values.is_empty:
        return None
    bins = schema.bins[SCORE_FEATURE]
    if bins.rest is None or any(held.bins is None or held.edges_id != schema.id for held in (block, reference)):
        return None
    columns = reference_columns(baseline, (SCORE_FEATURE,))
    if columns is None or block.bins is None:
        return None
    return _Scored(number, baseline, columns, block.bins[row, : bins.size])


def _kind(of: SegmentData) -> _Alike | None:
    block, baseline = of.data.features, of.baseline
    if not block.names or not of.data.categories.keys().isdisjoint(block.names) or any(map(len, block.distinct)):
        return None
    if baseline is None:
        return _Alike(block.names)
    reference, schema = baseline.data.features, baseline.schema.id
    if not reference.values.is_empty or block.tables:
        return None
    if any(of.bins is None or of.edges_id != schema for of in (block, reference)):
        # Without bins only quantiles could be compared, which baselines of segments do not have.
        return _Alike(block.names)
    compared = baseline.compared.get(block.names)
    if compared is None:
        compared = baseline.compared[block.names] = _compared(block.names, baseline)
    return _Alike(block.names, compared, schema)


def _compared(names: tuple[str, ...], baseline: Baseline) -> tuple[int, ...]:
    """The places of the features that the baseline has bins and values of."""
    reference = baseline.data.features
    counts = dict(zip(reference.names, reference.count.tolist(), strict=True))
    return tuple(place for place, name in enumerate(names) if name in baseline.schema.bins and counts.get(name, 0))


def _columns(kind: _Alike, segments: Sequence[SegmentData], window: str) -> dict[str, _Column]:
    """The published members of all features of some segments, segment by segment."""
    blocks = [of.data.features for of in segments]
    count, missing, mismatch, outside = (
        _joined(blocks, member).astype(np.int64) for member in ("count", "missing", "mismatch", "out_of_range")
    )
    total = count + missing + mismatch
    any_events, any_values = total > 0, count > 0
    events, values = np.maximum(total, 1), np.maximum(count, 1)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(np.maximum(_joined(blocks, "m2"), 0.0) / values)
    known_deviation = np.where(np.isfinite(deviation), deviation, 0.0)
    mean, median = _joined(blocks, "mean"), np.array([middle for of in blocks for middle in of.values.medians()])
    columns = {
        "count": _Column(total, np.ones(len(total), bool)),
        "missing_ratio": _Column(missing / events, any_events),
        "type_mismatch_ratio": _Column(mismatch / events, mismatch > 0),
        "out_of_range_ratio": _Column(outside / values, any_values & (outside > 0)),
        "mean": _finite(rounded_locations(mean, known_deviation), any_values),
        "std": _finite(to_digits(deviation, SEGMENT_DIGITS), any_values),
        "p50": _finite(rounded_locations(median, known_deviation), any_values),
    }
    return columns | (_drift(kind, segments, window, any_values) if kind.compared else {})


def _joined(blocks: Sequence[NumericBlock], member: str) -> NDArray[Any]:
    return np.concatenate([getattr(of, member) for of in blocks])


def _finite(values: NDArray[np.float64], held: NDArray[np.bool_]) -> _Column:
    return _Column(values, held & np.isfinite(values))


def _drift(
    kind: _Alike, segments: Sequence[SegmentData], window: str, any_values: NDArray[np.bool_]
) -> dict[str, _Column]:  # fmt: skip
    """Drift from the segments' baselines."""
    baselines = [of.baseline for of in segments if of.baseline is not None]
    names = tuple(kind.names[place] for place in kind.compared)
    references = [reference_columns(of, names) for of in baselines]
    columns = ReferenceColumns.joined([of for of in references if of is not None])
    places, width = list(kind.compared), columns.width
    counts = np.concatenate([of.data.features.bins[places, :width] for of in segments if of.data.features.bins is not None])
    paths = [f"data.features.{name}" for name in names]
    factors = Factors.joined([
        factors_of(paths, baseline.dispersions(window), of.data.predictions)
        for of, baseline in zip(segments, baselines, strict=True)
    ])  # fmt: skip
    binned = columns.deciles(counts)
    shifted = shifts(counts, columns.contrasts, factors)
    # Where the features of the first segment stand among those of all segments, and so on.
    rows = (np.arange(len(segments))[:, None] * len(kind.names) + np.array(places)).ravel()
    held = any_values[rows]
    found = {
        **_of_few_values(names, baselines, counts),
        "psi": _finite(to_digits(binned.psi, SEGMENT_DIGITS), binned.known & held),
        "p_value": _finite(to_digits(binned.p_values, SEGMENT_DIGITS), binned.tested & held),
        "shift": _finite(to_digits(shifted.sizes, SEGMENT_DIGITS), shifted.known & held),
        "shift_in": _Column(_DIRECTIONS[shifted.largest], shifted.known & held),
        "shift_p_value": _finite(to_digits(shifted.p_values, SEGMENT_DIGITS), shifted.tested & held),
    }
    return {name: _spread(column, rows, len(any_values)) for name, column in found.items()}


def _of_few_values(names: Sequence[str], baselines: Sequence[Baseline], counts: NDArray[np.int64]) -> dict[str, _Column]:
    """The distance of Kolmogorov and Smirnov, and its p-value, of those of the features ``names`` (C) that have few values
    (``distance.distances_of_values``). ``counts`` (R, B): of all of these features of one segment after the other."""
    bins = [baselines[0].schema.bins[name] for name in names]
    few = [place for place, of in enumerate(bins) if of.rest is None]
    if not few:
        return {}
    distances, p_values = np.zeros(len(counts)), np.ones(len(counts))
    held, tested = np.zeros(len(counts), bool), np.zeros(len(counts), bool)
    for place in few:
        own, values = slice(place, None, len(names)), slice(BELOW, bins[place].size)
        both = counts[own, values], np.array([_counts(of, names[place])[values] for of in baselines])
        n, m = (of.sum(axis=1) for of in both)
        shares = [np.cumsum(of, axis=1) / np.maximum(total, 1)[:, None] for of, total in zip(both, (n, m), strict=True)]
        distances[own] = np.abs(shares[0] - shares[1]).max(axis=1)
        root = np.sqrt(n * m / np.maximum(n + m, 1))
        p_values[own] = kolmogorov((root + 0.12 + 0.11 / np.maximum(root, 0.5)) * distances[own])
        held[own], tested[own] = n > 0, np.minimum(n, m) >= MIN_TESTED
    return {
        "ks": _Column(to_digits(distances, SEGMENT_DIGITS), held),
        "ks_p_value": _Column(to_digits(p_values, SEGMENT_DIGITS), tested),
    }


def _counts(baseline: Baseline, name: str) -> NDArray[np.int64]:
    block = baseline.data.features
    return counts_in(block, block.names.index(name), name, baseline.schema).counts


def _spread(column: _Column, rows: NDArray[np.intp], number: int) -> _Column:
    """A column of the features in these ``rows`` as one of all features, so many."""
    values, held = np.zeros(number, column.values.dtype), np.zeros(number, bool)
    values[rows], held[rows] = column
    return _Column(values, held)


def _members(columns: Mapping[str, _Column]) -> list[dict[str, Any]]:
    """The members of R features: features that have the same ones are made together."""
    names = list(columns)
    patterns = np.array([of.held for of in columns.values()]).T @ (1 << np.arange(len(names)))
    found: list[dict[str, Any]] = [{}] * len(patterns)
    for pattern in np.unique(patterns).tolist():
        rows = np.flatnonzero(patterns == pattern)
        own = [name for place, name in enumerate(names) if pattern >> place & 1]
        values = [_as_published(columns[name].values[rows]) for name in own]
        for row, numbers in zip(rows.tolist(), zip(*values, strict=True), strict=True):
            found[row] = dict(zip(own, numbers, strict=True))
    return found


def _as_published(values: NDArray[Any]) -> list[Any]:
    # As JSON 0 is shorter than 0.0.
    found: list[Any] = values.tolist()
    return found if values.dtype.kind != "f" or values.all() else [value or 0 for value in found]
