"""The windows of all models as the topic ``metrics`` tells them: the newest revision of each, and how revisions moved it.

Millions of records have to be taken in within seconds, so a record is kept as the bytes it came as and decoded when somebody
looks; its key says whose window it is. Memory is bounded by a budget: once it is spent the oldest windows go, those of segments
first.

The newest records are taken in first, so that there is something to look at; then come older ones, block by block backwards.
Within a block they come in their order, and whatever has been taken before is newer than all of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol

import msgspec

from tidegauge.console import revisions
from tidegauge.console.revisions import Revision

WHOLE_KEPT, SEGMENT_KEPT = 2000, 500
"""Windows kept of one version and window length, of the whole model and of each segment, while memory allows."""
LEAST = ((50, 5), (1, 1))
"""The fewest windows kept of the whole and of each segment: as long as that is enough, and at worst."""
SERIES_KEPT = 200_000
"""Combinations of version, segment and window length, while memory allows; more are counted, not kept."""
BUDGET = 512 << 20
_WHOLE = b",{},"
"""Part of the keys of records of whole models."""
_OVERHEAD = 250
"""Bytes a window costs beside its record."""
_SERIES_OVERHEAD = 1500
_REVISION_OVERHEAD = 60
"""Bytes a remembered revision costs beside what it says."""


class Name(msgspec.Struct, frozen=True, array_like=True):
    """Whose windows: the key of a metrics record without the window's start."""

    model: str
    version: str
    segment: dict[str, str]
    window: str


class Comparison(msgspec.Struct, frozen=True, array_like=True):
    """Which comparison of two versions: the key of its record without the window's start."""

    model: str
    version: str
    kind: Literal["comparison"]
    champion: str
    monitor: str
    window: str


class Keyed(Protocol):
    """What is read of a metrics record; ``aiokafka.ConsumerRecord`` is taken as it is."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class Series:
    """The windows of one length of one version and segment, or of one comparison of versions, by start (RFC 3339).

    Only the whole model ``keeps_history``: segments are many, and each revision costs decoding one. ``dropped``: windows given
    up for memory, all at or before ``floor``, and records that came for such windows later.
    """

    __slots__ = ("dropped", "earlier", "floor", "keeps_history", "name", "raw", "segment")

    def __init__(self, name: Name | Comparison) -> None:
        self.name = name
        segment = name.segment if isinstance(name, Name) else {}
        self.segment = ",".join(f"{dimension}={value}" for dimension, value in segment.items())
        self.raw: dict[str, bytes] = {}
        self.earlier: dict[str, list[bytes]] = {}
        self.keeps_history = isinstance(name, Name) and not self.segment
        self.dropped, self.floor = 0, ""

    def starts(self) -> list[str]:
        """Starts of the windows held, oldest first."""
        return sorted(self.raw, key=_order)

    def newest(self) -> dict[str, Any] | None:
        """The record of the newest window."""
        return _decode(self.raw[max(self.raw, key=_order)]) if self.raw else None

    def revisions(self, start: str) -> list[Revision]:
        """Every revision of a window that is remembered, oldest first; the last is the one that stands."""
        raw = self.raw.get(start)
        return [] if raw is None else [revisions.read(one) for one in (*self.earlier.get(start, ()), raw)]


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_name = msgspec.json.Decoder(Name).decode
_comparison = msgspec.json.Decoder(Comparison).decode


class PublishedWindows:
    """Takes in records of the topic ``metrics`` and finds them again. ``budget``: bytes of memory, roughly."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.records = self.unreadable = self.dropped = self.windows = 0
        self.size = 0
        self._kept = {True: WHOLE_KEPT, False: SEGMENT_KEPT}
        self._by_key: dict[bytes, Series] = {}
        self._models: dict[str, list[Series]] = {}
        self._comparisons: dict[str, list[Series]] = {}
        # Of the block of older records that is being taken in: windows that stand by one of its records, what those of its
        # records said that do not stand, and windows deleted in it. And windows that were deleted after it.
        self._standing: set[bytes] = set()
        self._superseded: dict[Series, dict[str, list[bytes]]] = {}
        self._deleted: set[bytes] = set()
        self._gone: set[bytes] | None = set()

    def take(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take in one record, newer than all before; the model it is about, None if it changes nothing."""
        self.records += 1
        found = self._place(key)
        if key is None or found is None:
            return None
        series, start = found
        if value is None:
            if self._gone is not None:
                self._gone.add(key)
            self._delete(series, start, key)
            self._forget(series, (start,))
            return series.name.model
        before = series.raw.get(start)
        if before is not None:
            told = series.earlier
            if key in self._standing:
                self._standing.discard(key)
                told = self._superseded.setdefault(series, {})
            if series.keeps_history and before != value:
                self._remember(told.setdefault(start, []), before)
        self._put(series, start, before, value)
        return series.name.model

    def take_older(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take in one record of a block that is older than all but the block's own; the model it is about, None if it changes
        nothing."""
        self.records += 1
        found = self._place(key)
        if key is None or found is None or (self._gone is not None and key in self._gone):
            return None
        series, start = found
        before = series.raw.get(start)
        newest = before is None or key in self._standing
        if value is None:
            self._deleted.add(key)
            self._delete(series, start, key)
            if newest:
                self._forget(series, (start,))
            return None
        if before is not None:
            if before == value or not (newest or series.keeps_history):
                return None
            if series.keeps_history:
                self._remember(self._superseded.setdefault(series, {}).setdefault(start, []), before if newest else value)
        if newest:
            self._standing.add(key)
            self._put(series, start, before, value)
        return series.name.model

    def take_older_all(self, records: Iterable[Keyed]) -> set[str]:
        """The same for several records of one partition, in their order; the models they are about. Of segments only what
        stands is remembered, so what another of the records supersedes is not looked at."""
        models, last, spared = set(), dict[bytes, bytes | None](), 0
        for record in records:
            key = record.key
            if key is not None and _WHOLE not in key:
                spared += key in last
                last[key] = record.value
            elif (model := self.take_older(key, record.value)) is not None:
                models.add(model)
        for key, value in last.items():
            if (model := self.take_older(key, value)) is not None:
                models.add(model)
        self.records += spared
        return models

    def end_of_block(self, last: bool = False) -> None:
        """What is taken from now on with ``take_older`` is older than all so far; with ``last`` there is nothing older."""
        for series, superseded in self._superseded.items():
            for start, told in superseded.items():
                if start in series.raw:
                    both = told + series.earlier.get(start, [])
                    series.earlier[start] = revisions.limited(both)
                    self.size -= _size(both) - _size(series.earlier[start])
                else:
                    self.size -= _size(told)
        self._superseded.clear()
        self._standing.clear()
        self._gone = None if last or self._gone is None else self._gone | self._deleted
        self._deleted.clear()

    def models(self) -> list[str]:
        return sorted(self._models)

    def series(self, model: str) -> list[Series]:
        """All series of a model, in the order they came."""
        return self._models.get(model, [])

    def comparisons(self, model: str) -> list[Series]:
        """All comparisons of a model's versions."""
        return self._comparisons.get(model, [])

    def find(self, model: str, version: str, window: str, segment: str = "") -> Series | None:
        """``segment`` as alerts name it: ``region=eu``, the whole model is the empty string."""
        for series in self.series(model):
            if (series.name.version, series.name.window, series.segment) == (version, window, segment):
                return series
        return None

    def _place(self, key: bytes | None) -> tuple[Series, str] | None:
        """Whose window a record's key names and when it starts; None if it cannot be read, or there is no room for it."""
        place = key.rfind(b',"') if key else -1
        if key is None or place < 0:
            self.unreadable += 1
            return None
        prefix = key[:place]
        series = self._by_key.get(prefix) or self._new(prefix)
        if series is None:
            return None
        start = key[place + 2 : -2].decode()
        if series.floor and _order(start) <= series.floor:
            self.dropped += 1
            series.dropped += 1
            return None
        return series, start

    def _new(self, prefix: bytes) -> Series | None:
        if len(self._by_key) >= SERIES_KEPT or self.size > self.budget:
            self.dropped += 1
            return None
        name: Name | Comparison
        try:
            name = _name(prefix + b"]")
        except (msgspec.MsgspecError, RecursionError):
            try:
                name = _comparison(prefix + b"]")
            except (msgspec.MsgspecError, RecursionError):
                self.unreadable += 1
                return None
        series = self._by_key[prefix] = Series(name)
        self.size += _SERIES_OVERHEAD
        (self._models if isinstance(name, Name) else self._comparisons).setdefault(name.model, []).append(series)
        return series

    def _put(self, series: Series, start: str, before: bytes | None, value: bytes) -> None:
        if before is None:
            self.windows += 1
            self.size += len(value) + _OVERHEAD
        else:
            self.size += len(value) - len(before)
        series.raw[start] = value
        kept = self._kept[not series.segment]
        if len(series.raw) > kept + (kept >> 2):
            self._trim(series, kept)
        if self.size > self.budget:
            self._shrink()

    def _delete(self, series: Series, start: str, key: bytes) -> None:
        """What the block's records have said of a window so far is gone."""
        self._standing.discard(key)
        self.size -= _size(self._superseded.get(series, {}).pop(start, ()))

    def _remember(self, told: list[bytes], record: bytes) -> None:
        """Add what a record said to what is remembered of its window."""
        try:
            told.append(revisions.shortened(record))
        except msgspec.MsgspecError:
            self.unreadable += 1
            return
        self.size += len(told[-1]) + _REVISION_OVERHEAD
        if len(told) > revisions.KEPT:
            self.size -= _size((told.pop(1),))

    def _trim(self, series: Series, kept: int) -> None:
        gone = series.starts()[: max(len(series.raw) - kept, 0)]
        if gone:
            self.dropped += len(gone)
            series.dropped += len(gone)
            series.floor = _order(gone[-1])
            self._forget(series, gone)

    def _forget(self, series: Series, starts: Iterable[str]) -> None:
        for start in starts:
            raw = series.raw.pop(start, None)
            self.size -= _size(series.earlier.pop(start, ()))
            if raw is not None:
                self.windows -= 1
                self.size -= len(raw) + _OVERHEAD

    def _shrink(self) -> None:
        """Keep fewer windows of everything, segments first, until a fifth of the budget is free."""
        for least in LEAST:
            for whole in (False, True):
                while self.size > self.budget * 0.8 and self._kept[whole] > least[not whole]:
                    self._kept[whole] = max(self._kept[whole] // 2, least[not whole])
                    for series in self._by_key.values():
                        if whole == (not series.segment):
                            self._trim(series, self._kept[whole])


def between(series: Series, since: str = "", until: str = "") -> Iterator[str]:
    """Starts of the windows that begin at or after ``since`` and before ``until``, oldest first."""
    for start in series.starts():
        if (not since or _order(start) >= _order(since)) and (not until or _order(start) < _order(until)):
            yield start


def _size(told: Iterable[bytes]) -> int:
    return sum(len(one) + _REVISION_OVERHEAD for one in told)


def _order(start: str) -> str:
    """Sorts as time does: without its Z, whole seconds come before their fractions."""
    return start.rstrip("Z")
