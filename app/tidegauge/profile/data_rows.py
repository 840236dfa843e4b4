"""Predictions that travel as rows rather than as profiles: how these are packed, unpacked, selected and concatenated.

If a checkpoint has only a few predictions of each segment, its rows are smaller than profiles would be, and need not be grouped
before a window is read.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import starmap
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile.attribution import AttributionColumns
from tidegauge.profile.category import CategoryColumn
from tidegauge.profile.counts import COUNT_TYPES, PackedCounts, pack_counts
from tidegauge.profile.data import DataColumns, UnexpectedFeature
from tidegauge.profile.numeric import NumericColumns

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def pack(columns: DataColumns) -> bytes:
    """The rows as MessagePack, which ``unpack`` reads."""
    explained = columns.attributions
    return _encode([
        columns.request_ids, _pack_numbers(columns.features), _pack_numbers(columns.results),
        [_pack_category(of) for of in (columns.result_class, *columns.categories)],
        columns.error.tobytes(), columns.abstained.tobytes(), columns.unexpected, _packed(columns.scores),
        None if explained is None else [explained.rows.tobytes(), len(explained.rows), _pack_numbers(explained.values)],
        None if columns.other_results is None else _pack_numbers(columns.other_results),
    ])  # fmt: skip


def unpack(raw: bytes) -> DataColumns:
    """The rows that ``pack`` wrote; their arrays are read-only."""
    ids, features, results, categories, error, abstained, unexpected, scores, explained, other = _decode(raw)
    n = len(ids)
    result_class, *others = [_unpack_category(of) for of in categories]
    attributions = None
    if explained is not None:
        rows, count, values = explained
        attributions = AttributionColumns(np.frombuffer(rows, np.intp), _unpack_numbers(values, count), n)
    return DataColumns(
        _unpack_numbers(features, n), others, _unpack_numbers(results, n), result_class, np.frombuffer(error, bool),
        np.frombuffer(abstained, bool), list(starmap(UnexpectedFeature, unexpected)), ids, _unpacked(scores), attributions,
        None if other is None else _unpack_numbers(other, n),
    )  # fmt: skip


def layout(columns: DataColumns) -> Hashable:
    """A value that is equal for chunks of rows that can be concatenated: those with the same features, bins and categories."""
    explained = columns.attributions
    return (
        *(_layout(of) for of in (columns.features, columns.results)),
        *((of.name, of.places is None) for of in (columns.result_class, *columns.categories)),
        None if explained is None else _layout(explained.values),
    )


def take(columns: DataColumns, rows: NDArray[np.intp]) -> DataColumns:
    """The rows (k) with these numbers, in this order."""
    place = {row: number for number, row in enumerate(rows.tolist())}
    return DataColumns(
        _take_numbers(columns.features, rows),
        [_take_category(of, rows) for of in columns.categories],
        _take_numbers(columns.results, rows),
        _take_category(columns.result_class, rows),
        columns.error[rows],
        columns.abstained[rows],
        [UnexpectedFeature(place[row], name) for row, name in columns.unexpected if row in place],
        [columns.request_ids[row] for row in place],
        None if columns.scores is None else columns.scores[rows],
        _take_attributions(columns.attributions, rows),
        None if columns.other_results is None else _take_numbers(columns.other_results, rows),
    )


def together(parts: Sequence[DataColumns]) -> DataColumns:
    """The rows of several chunks, at least one, of the same ``layout``, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    sizes = [len(of.request_ids) for of in parts]
    begins = np.cumsum([0, *sizes[:-1]]).tolist()
    scores = [np.full(size, -1) if of.scores is None else of.scores for of, size in zip(parts, sizes, strict=True)]
    explained = [(begin, of.attributions) for begin, of in zip(begins, parts, strict=True) if of.attributions is not None]
    return DataColumns(
        _numbers_together([of.features for of in parts]),
        [_category_together([of.categories[place] for of in parts]) for place in range(len(first.categories))],
        _numbers_together([of.results for of in parts]),
        _category_together([of.result_class for of in parts]),
        np.concatenate([of.error for of in parts]),
        np.concatenate([of.abstained for of in parts]),
        [UnexpectedFeature(begin + row, name) for begin, of in zip(begins, parts, strict=True) for row, name in of.unexpected],
        [request_id for of in parts for request_id in of.request_ids],
        None if all(of.scores is None for of in parts) else np.concatenate(scores),
        AttributionColumns(
            np.concatenate([begin + of.rows for begin, of in explained]),
            _numbers_together([of.values for _, of in explained]),
            sum(sizes),
        )
        if explained
        else None,
        None
        if all(of.other_results is None for of in parts)
        else _numbers_together([of.results if of.other_results is None else of.other_results for of in parts]),
    )


def _packed(codes: NDArray[np.int64] | None) -> PackedCounts | None:
    return None if codes is None else pack_counts(codes)


def _unpacked(packed: Sequence[Any] | None) -> NDArray[Any] | None:
    """The whole numbers (n) of PackedCounts, in the type they were packed in."""
    if packed is None:
        return None
    width, raw = packed
    return np.frombuffer(raw, COUNT_TYPES[width])


def _flags(flags: NDArray[np.bool_] | None) -> bytes | None:
    return None if flags is None else flags.tobytes()


def _pack_numbers(of: NumericColumns) -> list[Any]:
    return [of.names, of.x.tobytes(), _flags(of.mismatch), _flags(of.out_of_range), _packed(of.bins), of.edges_id, of.width]


def _unpack_numbers(packed: Sequence[Any], n: int) -> NumericColumns:
    names, x, mismatch, outside, bins, edges_id, width = packed
    shape = len(names), n
    judged = [None if raw is None else np.frombuffer(raw, bool).reshape(shape) for raw in (mismatch, outside)]
    codes = _unpacked(bins)
    if codes is not None:
        codes = codes.reshape(shape)
    values = np.frombuffer(x, np.float64).reshape(shape)
    return NumericColumns(tuple(names), values, judged[0], judged[1], codes, edges_id, width)


def _layout(of: NumericColumns) -> Hashable:
    return of.names, of.edges_id, of.bins is None


def _take_numbers(of: NumericColumns, rows: NDArray[np.intp]) -> NumericColumns:
    judged = [None if held is None else held[:, rows] for held in (of.mismatch, of.out_of_range)]
    bins = None if of.bins is None else of.bins[:, rows]
    return NumericColumns(of.names, of.x[:, rows], judged[0], judged[1], bins, of.edges_id, of.width)


def _numbers_together(parts: Sequence[NumericColumns]) -> NumericColumns:
    first = parts[0]
    judged: list[NDArray[np.bool_] | None] = []
    for member in ("mismatch", "out_of_range"):
        flags = [getattr(of, member) for of in parts]
        known = [np.zeros(of.x.shape, bool) if flag is None else flag for of, flag in zip(parts, flags, strict=True)]
        judged.append(None if all(flag is None for flag in flags) else np.concatenate(known, axis=1))
    held = [of.bins for of in parts if of.bins is not None]
    x, bins = np.concatenate([of.x for of in parts], axis=1), np.concatenate(held, axis=1) if held else None
    return NumericColumns(first.names, x, judged[0], judged[1], bins, first.edges_id, first.width)


def _pack_category(of: CategoryColumn) -> list[Any]:
    return [of.name, pack_counts(of.codes), list(of.values), _packed(of.places)]


def _unpack_category(packed: Sequence[Any]) -> CategoryColumn:
    name, (width, codes), values, places = packed
    return CategoryColumn(name, np.frombuffer(codes, COUNT_TYPES[width]), values, places=_unpacked(places))


def _take_category(of: CategoryColumn, rows: NDArray[np.intp]) -> CategoryColumn:
    return CategoryColumn(of.name, of.codes[rows], of.values, places=of.places)


def _category_together(parts: Sequence[CategoryColumn]) -> CategoryColumn:
    """Concatenate chunks of one categorical feature. A value that the baseline knew in one chunk, but not yet in another,
    appears twice among the values."""
    first = parts[0]
    places = [None if of.places is None else of.places.tolist() for of in parts]
    if all(of.values == first.values and at == places[0] for of, at in zip(parts, places, strict=True)):
        return CategoryColumn(first.name, np.concatenate([of.codes for of in parts]), first.values, places=first.places)
    numbers: dict[tuple[str, int], int] = {}
    codes = []
    for of, at in zip(parts, places, strict=True):
        named = zip(of.values, at or [0] * len(of.values), strict=True)
        own = [numbers.setdefault(known, len(numbers)) for known in named]
        # Negative codes stand for no value; they index from the end, and so stay what they are.
        codes.append(np.array([*own, -2, -1])[of.codes])
    places_of = None if first.places is None else np.array([place for _, place in numbers], np.int64)
    return CategoryColumn(first.name, np.concatenate(codes), [value for value, _ in numbers], places=places_of)


def _take_attributions(of: AttributionColumns | None, rows: NDArray[np.intp]) -> AttributionColumns | None:
    if of is None:
        return None
    place = np.full(of.size, -1)
    place[of.rows] = np.arange(len(of.rows))
    held = place[rows]
    return AttributionColumns(np.flatnonzero(held >= 0), _take_numbers(of.values, held[held >= 0]), len(rows))
