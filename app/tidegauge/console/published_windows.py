"""The windows of all models from the topic ``metrics``: the newest revision of each, and the earlier ones in short.

Millions of records must be taken in within seconds. The newest records are taken in first, so that there is something to see;
older ones follow in blocks, each older than everything before it. Within a block records come in their own order.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from tidegauge.console.window_memory import WindowMemory
from tidegauge.console.window_series import Series

BUDGET = 512 << 20
_WHOLE = b",{},"
"""The part of a record's key that says that it is about a whole model."""


class KeyedRecord(Protocol):
    """The members of a metrics record that are used. ``aiokafka.ConsumerRecord`` has them."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


class _OlderBlock:
    """The block of older records that is being taken in. ``standing``: the keys of windows whose current record is in the
    block; ``superseded``: the revisions of such windows in other records of the block; ``deleted``: the keys that the block
    deletes."""

    def __init__(self) -> None:
        self.standing: set[bytes] = set()
        self.superseded: dict[Series, dict[str, list[bytes]]] = {}
        self.deleted: set[bytes] = set()

    def earlier(self, series: Series, start: str) -> list[bytes]:
        """The revisions of a window in the block's records, without the current one, the oldest first. May be appended to."""
        return self.superseded.setdefault(series, {}).setdefault(start, [])


class PublishedWindows:
    """Takes in records of the topic ``metrics`` and finds them. ``budget``: the approximate limit of memory in bytes."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.memory = WindowMemory(budget)
        self.records = 0
        self._block = _OlderBlock()
        # The keys that records newer than the block deleted; None once there is nothing older to read.
        self._deleted_later: set[bytes] | None = set()

    def take(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take in one record that is newer than all before; return the model it is about, None if it changes nothing."""
        self.records += 1
        place = self.memory.place(key)
        if key is None or place is None:
            return None
        series, start = place
        if value is None:
            if self._deleted_later is not None:
                self._deleted_later.add(key)
            self._delete(series, start, key)
            self.memory.forget(series, start)
            return series.name.model
        before = series.raw.get(start)
        if before is not None:
            by_block = key in self._block.standing
            self._block.standing.discard(key)
            if series.keeps_history and before != value:
                earlier = self._block.earlier(series, start) if by_block else series.earlier.setdefault(start, [])
                self.memory.remember(earlier, before)
        self.memory.put(series, start, value)
        return series.name.model

    def take_older(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take in one record of a block of older records; return the model it is about, None if it changes nothing."""
        self.records += 1
        place = self.memory.place(key)
        if key is None or place is None or (self._deleted_later is not None and key in self._deleted_later):
            return None
        series, start = place
        before = series.raw.get(start)
        newest = before is None or key in self._block.standing
        if value is None:
            self._block.deleted.add(key)
            self._delete(series, start, key)
            if newest:
                self.memory.forget(series, start)
            return None
        if before is not None:
            if before == value or not (newest or series.keeps_history):
                return None
            if series.keeps_history:
                self.memory.remember(self._block.earlier(series, start), before if newest else value)
        if newest:
            self._block.standing.add(key)
            self.memory.put(series, start, value)
        return series.name.model

    def take_older_all(self, records: Iterable[KeyedRecord]) -> set[str]:
        """Do the same with several records of one partition, in their order; return the models they are about. Of segments only
        the current revision is held, so records that others of these supersede are skipped."""
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
        """End a block of older records; the next block is older than all records so far. ``last``: there is no further
        block."""
        for series, superseded in self._block.superseded.items():
            for start, earlier in superseded.items():
                self.memory.put_before(series, start, earlier)
        self._deleted_later = None if last or self._deleted_later is None else self._deleted_later | self._block.deleted
        self._block = _OlderBlock()

    def models(self) -> list[str]:
        return sorted(self.memory.series)

    def series(self, model: str) -> list[Series]:
        """All series of a model, in the order in which they were first seen."""
        return self.memory.series.get(model, [])

    def comparisons(self, model: str) -> list[Series]:
        """All comparisons of a model's versions."""
        return self.memory.comparisons.get(model, [])

    def find(self, model: str, version: str, window: str, segment: str = "") -> Series | None:
        """The series of a version and window length. ``segment``: as in alerts, such as ``region=eu``; "" for the whole
        model."""
        for series in self.series(model):
            if (series.name.version, series.name.window, series.segment) == (version, window, segment):
                return series
        return None

    def _delete(self, series: Series, start: str, key: bytes) -> None:
        """Drop what the block's records have said of a window so far."""
        self._block.standing.discard(key)
        self.memory.release(self._block.superseded.get(series, {}).pop(start, ()))
