"""Holds windows in bounded memory: once the budget is used up, the oldest windows are dropped, those of segments first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tidegauge.console import revisions
from tidegauge.console.window_series import Name, Series, order, read_name

WHOLE_KEPT, SEGMENT_KEPT = 2000, 500
"""The most windows that are held of one version and window length, for the whole model and for each segment."""
LEAST = ((50, 5), (1, 1))
"""The fewest windows that are held of the whole model and of each segment: the first pair as long as that frees enough memory,
the second at worst."""
SERIES_KEPT = 200_000
"""The most series (combinations of version, segment and window length) that are held; further ones are only counted."""
_OVERHEAD = 250
"""The bytes that a window takes in addition to its record."""
_SERIES_OVERHEAD = 1500
_REVISION_OVERHEAD = 60
"""The bytes that an earlier revision takes in addition to its content."""


class WindowId(NamedTuple):
    """The window that a record is about: that of ``series`` that begins at ``start``."""

    series: Series
    start: str


class WindowMemory:
    """All series by the prefix of their records' keys. ``budget``: the approximate limit in bytes; ``size``: the bytes in use;
    ``dropped``: how many windows were dropped for lack of memory and how many records came for such windows; ``unreadable``:
    how many keys and records could not be read."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.size = self.windows = self.dropped = self.unreadable = 0
        self.series: dict[str, list[Series]] = {}
        self.comparisons: dict[str, list[Series]] = {}
        self._by_prefix: dict[bytes, Series] = {}
        self._kept = {True: WHOLE_KEPT, False: SEGMENT_KEPT}

    def place(self, key: bytes | None) -> WindowId | None:
        """The window of the record with this key; None if the key cannot be read or there is no room for the window."""
        comma = key.rfind(b',"') if key else -1
        if key is None or comma < 0:
            self.unreadable += 1
            return None
        prefix = key[:comma]
        series = self._by_prefix.get(prefix) or self._new(prefix)
        if series is None:
            return None
        start = key[comma + 2 : -2].decode()
        if series.floor and order(start) <= series.floor:
            self.dropped += 1
            series.dropped += 1
            return None
        return WindowId(series, start)

    def put(self, series: Series, start: str, record: bytes) -> None:
        """Hold a record as the current one of its window."""
        before = series.raw.get(start)
        if before is None:
            self.windows += 1
            self.size += len(record) + _OVERHEAD
        else:
            self.size += len(record) - len(before)
        series.raw[start] = record
        kept = self._kept[not series.segment]
        if len(series.raw) > kept + (kept >> 2):
            self._trim(series, kept)
        if self.size > self.budget:
            self._shrink()

    def forget(self, series: Series, start: str) -> None:
        """Drop a window and its revisions."""
        raw = series.raw.pop(start, None)
        self.release(series.earlier.pop(start, ()))
        if raw is not None:
            self.windows -= 1
            self.size -= len(raw) + _OVERHEAD

    def remember(self, earlier: list[bytes], record: bytes) -> None:
        """Add a record, in short, to the ``earlier`` revisions of its window."""
        try:
            earlier.append(revisions.shortened(record))
        except msgspec.MsgspecError:
            self.unreadable += 1
            return
        self.size += _size(earlier[-1:])
        if len(earlier) > revisions.KEPT:
            self.release((earlier.pop(1),))

    def put_before(self, series: Series, start: str, earlier: list[bytes]) -> None:
        """Put ``earlier`` revisions before those that their window already has; drop them if the window is not held."""
        if start not in series.raw:
            self.release(earlier)
            return
        both = earlier + series.earlier.get(start, [])
        series.earlier[start] = revisions.limited(both)
        self.size -= _size(both) - _size(series.earlier[start])

    def release(self, earlier: Iterable[bytes]) -> None:
        """Free the memory of revisions that are dropped."""
        self.size -= _size(earlier)

    def _new(self, prefix: bytes) -> Series | None:
        if len(self._by_prefix) >= SERIES_KEPT or self.size > self.budget:
            self.dropped += 1
            return None
        name = read_name(prefix)
        if name is None:
            self.unreadable += 1
            return None
        series = self._by_prefix[prefix] = Series(name)
        self.size += _SERIES_OVERHEAD
        (self.series if isinstance(name, Name) else self.comparisons).setdefault(name.model, []).append(series)
        return series

    def _trim(self, series: Series, kept: int) -> None:
        gone = series.starts()[: max(len(series.raw) - kept, 0)]
        if gone:
            self.dropped += len(gone)
            series.dropped += len(gone)
            series.floor = order(gone[-1])
            for start in gone:
                self.forget(series, start)

    def _shrink(self) -> None:
        """Drop windows, those of segments first, until a fifth of the budget is free."""
        for least in LEAST:
            for whole in (False, True):
                while self.size > self.budget * 0.8 and self._kept[whole] > least[not whole]:
                    self._kept[whole] = max(self._kept[whole] // 2, least[not whole])
                    for series in self._by_prefix.values():
                        if whole == (not series.segment):
                            self._trim(series, self._kept[whole])


def _size(earlier: Iterable[bytes]) -> int:
    return sum(len(one) + _REVISION_OVERHEAD for one in earlier)
