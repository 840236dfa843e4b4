"""Outcomes that travel as rows: how these are packed, unpacked, selected and concatenated. See ``profile/data_rows.py``."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegauge.profile import range_losses
from tidegauge.profile.delay_grid import DELAY_BINS, delay_bins
from tidegauge.profile.outcome_rows import OutcomeColumns
from tidegauge.profile.range_losses import RangeCodes

_ROW = np.dtype([
    ("sign", "i1"), ("labelled", "?"), ("implied", "?"), ("unreadable", "?"), ("positive", "i1"), ("hit", "i1"),
    ("predicted", "<u4"), ("actual", "<u4"), ("score", "<f8"), ("delay", "<f8"),
])  # fmt: skip
"""``predicted`` and ``actual``: 0 for no class, else the number of the class in ``OutcomeTable.classes``, from 1 on."""
_BYTES = np.dtype((np.void, _ROW.itemsize))
_PREDICTED, _ACTUAL, _LOSS, _OTHER, _KPI = "predicted", "actual", "log_loss", "other_score", "kpi:"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class OutcomeTable:
    """Outcomes of one version, row by row.

    ``table`` (n): the members that all outcomes have. ``classes``: the names of the classes in it. ``ids`` (n): request ids in
    UTF-8, or None; empty for a forgotten request. ``more``: name → numbers (n) that only the outcomes of some models have, NaN
    for a row without one. ``hits``: whether the model is multiclass, so that the score is the probability of the predicted
    class. ``codes``: as in OutcomeColumns.
    """

    __slots__ = ("classes", "codes", "hits", "ids", "more", "table")

    def __init__(
        self, table: NDArray[np.void], classes: tuple[str, ...], ids: NDArray[np.object_], more: dict[str, NDArray[np.float64]],
        hits: bool,
    ) -> None:  # fmt: skip
        self.table, self.classes, self.ids, self.more, self.hits = table, classes, ids, more, hits
        self.codes: RangeCodes | None = None

    def __len__(self) -> int:
        return len(self.table)

    @classmethod
    def of(cls, columns: OutcomeColumns) -> OutcomeTable:
        """The table of these outcomes."""
        n = len(columns.sign)
        table = np.zeros(n, _ROW)
        for member in ("sign", "labelled", "positive", "score", "delay"):
            table[member] = getattr(columns, member)
        table["hit"] = -1 if columns.hit is None else columns.hit
        for member in ("implied", "unreadable"):
            if (flags := getattr(columns, member)) is not None:
                table[member] = flags
        names: dict[str | None, int] = {None: 0}
        for member in ("predicted", "actual"):
            table[member] = [names.setdefault(name, len(names)) for name in getattr(columns, member)]
        more = {_KPI + name: values for name, values in columns.business.items()}
        if columns.numbers is not None:
            more[_PREDICTED], more[_ACTUAL] = columns.numbers
        if columns.log_loss is not None:
            more[_LOSS] = columns.log_loss
        if columns.other_score is not None:
            more[_OTHER] = columns.other_score
        ids = np.empty(n, object)
        if len(columns.ids):
            ids[:] = columns.ids
        classes = tuple(name for name in names if name is not None)
        made = cls(table, classes, ids, more, columns.hit is not None)
        made.codes = columns.codes
        return made

    def columns(self) -> OutcomeColumns:
        """The same outcomes as OutcomeColumns."""
        table, names = self.table, (None, *self.classes)
        ids = self.ids.tolist()
        has_ids = all(of is not None for of in ids)
        more, business = self.more, {}
        for name in sorted(more):
            if name.startswith(_KPI):
                business[name.removeprefix(_KPI)] = more[name]
        return OutcomeColumns(
            table["sign"].astype(np.int64), table["labelled"], [names[code] for code in table["predicted"].tolist()],
            [names[code] for code in table["actual"].tolist()],
            np.array([more[_PREDICTED], more[_ACTUAL]]) if _PREDICTED in more else None, table["score"],
            table["positive"].astype(np.int64), more.get(_LOSS), business, table["delay"], ids if has_ids else (),
            table["hit"].astype(np.int64) if self.hits else None, table["implied"], more.get(_OTHER),
            table["unreadable"], self.codes,
        )  # fmt: skip

    def forget_requests(self, request_ids: Set[str]) -> bool:
        """Remove these request ids; returns whether there were any."""
        gone = {request_id.encode() for request_id in request_ids}
        rows = [row for row, name in enumerate(self.ids.tolist()) if name in gone]
        self.ids[rows] = b""
        return bool(rows)

    def delay_counts(self) -> NDArray[np.int64]:
        """The histogram of the label delays (DELAY_BINS)."""
        known = ~np.isnan(self.table["delay"])
        bins, weights = delay_bins(self.table["delay"][known]), self.table["sign"][known]
        return np.bincount(bins, weights, DELAY_BINS).astype(np.int64)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """The numbers (n) of one name in ``more``. If there are none: NaN, or for the score read the other way the score
        itself."""
        if name in self.more:
            return self.more[name]
        return self.table["score"] if name == _OTHER else np.full(len(self), np.nan)

    def take(self, rows: NDArray[np.intp]) -> OutcomeTable:
        """The rows (k) with these numbers, in this order."""
        more = {name: of[rows] for name, of in self.more.items()}
        taken = OutcomeTable(self.table[rows], self.classes, self.ids[rows], more, self.hits)
        taken.codes = None if self.codes is None else self.codes.take(rows, len(self))
        return taken

    def pack(self) -> bytes:
        more = {name: of.tobytes() for name, of in self.more.items()}
        packed = [self.table.tobytes(), self.classes, self.ids.tolist(), more, self.hits]
        if self.codes is not None:
            ranges, unit, rows, codes = self.codes
            packed.append([ranges, unit, rows.astype(np.uint32).tobytes(), codes.shape[1], codes.tobytes()])
        return _encode(packed)

    @classmethod
    def unpack(cls, raw: bytes) -> OutcomeTable:
        packed: list[Any] = _decode(raw)
        table, classes, given, more, hits, *beside = packed
        ids = np.empty(len(given), object)
        ids[:] = given
        numbers = {name: np.frombuffer(of, np.float64) for name, of in more.items()}
        read = cls(np.frombuffer(table, _ROW), tuple(classes), ids, numbers, hits)
        for ranges, unit, rows, features, codes in beside:
            places = np.frombuffer(rows, np.uint32).astype(np.int64)
            read.codes = RangeCodes(ranges, unit, places, np.frombuffer(codes, np.uint8).reshape(len(places), features))
        return read


def together(parts: Sequence[OutcomeTable]) -> OutcomeTable:
    """Concatenate the rows of several tables, at least one. Those with codes must have codes of the same ranges."""
    first = parts[0]
    if len(parts) == 1:
        return first
    # They are concatenated as bytes: for structured arrays numpy would compare the member types of every table.
    table = np.concatenate([of.table.view(_BYTES) for of in parts]).view(_ROW)
    classes = first.classes
    if any(of.classes != classes for of in parts):
        names: dict[str | None, int] = {None: 0}
        # Few parts have other classes than any before, so that all their codes are replaced at once.
        begins: dict[tuple[str, ...], int] = {}
        places: list[int] = []
        for of in parts:
            if of.classes not in begins:
                begins[of.classes] = len(places)
                places += [names.setdefault(name, len(names)) for name in (None, *of.classes)]
        begin = np.repeat([begins[of.classes] for of in parts], [len(of) for of in parts])
        codes = np.array(places, np.uint32)
        for member in ("predicted", "actual"):
            table[member] = codes[begin + table[member]]
        classes = tuple(name for name in names if name is not None)
    more = {
        name: np.concatenate([of.numbers(name) for of in parts])
        for name in dict.fromkeys(name for of in parts for name in of.more)
    }
    made = OutcomeTable(table, classes, np.concatenate([of.ids for of in parts]), more, any(of.hits for of in parts))
    made.codes = range_losses.together([(of.codes, len(of)) for of in parts])
    return made
