"""The windows of all models as the topic ``metrics`` tells them: the newest revision of each, and how revisions moved it.

Millions of records have to be taken in within seconds, so a record is kept as the bytes it came as and decoded when somebody
looks; its key says whose window it is. Memory is bounded by a budget: once it is spent the oldest windows go, those of segments
first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

WHOLE_KEPT, SEGMENT_KEPT = 2000, 500
"""Windows kept of one version and window length, of the whole model and of each segment, while memory allows."""
WHOLE_LEAST, SEGMENT_LEAST = 50, 5
REVISIONS_KEPT = 50
"""Revisions remembered of one window: the first, and the latest others."""
SERIES_KEPT = 200_000
"""Combinations of version, segment and window length; more are counted, not kept."""
BUDGET = 512 << 20
_OVERHEAD = 250
"""Bytes a window costs beside its record."""


class Revision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one revision of a window said, in short."""

    revision: int
    reason: str
    predictions: int
    labels: int
    closed: bool
    settled: bool = False
    coverage: float | None = None
    performance: dict[str, Any] = {}
    business: dict[str, Any] = {}


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


class Series:
    """The windows of one length of one version and segment, or of one comparison of versions, by start (RFC 3339).

    Only the whole model ``keeps_history``: segments are many, and each revision costs decoding one.
    """

    __slots__ = ("earlier", "keeps_history", "name", "raw", "segment")

    def __init__(self, name: Name | Comparison) -> None:
        self.name = name
        segment = name.segment if isinstance(name, Name) else {}
        self.segment = ",".join(f"{dimension}={value}" for dimension, value in segment.items())
        self.raw: dict[str, bytes] = {}
        self.earlier: dict[str, list[Revision]] = {}
        self.keeps_history = isinstance(name, Name) and not self.segment

    def starts(self) -> list[str]:
        """Starts of the windows held, oldest first."""
        return sorted(self.raw, key=_order)

    def newest(self) -> dict[str, Any] | None:
        """The record of the newest window."""
        return _decode(self.raw[max(self.raw, key=_order)]) if self.raw else None

    def revisions(self, start: str) -> list[Revision]:
        """Every revision of a window that is remembered, oldest first; the last is the one that stands."""
        raw = self.raw.get(start)
        return [] if raw is None else [*self.earlier.get(start, ()), _revision(raw)]


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_name = msgspec.json.Decoder(Name).decode
_comparison = msgspec.json.Decoder(Comparison).decode
_revision = msgspec.json.Decoder(Revision).decode


class Windows:
    """Takes in records of the topic ``metrics`` and finds them again. ``budget``: bytes of memory, roughly."""

    def __init__(self, budget: int = BUDGET) -> None:
        self.budget = budget
        self.records = self.unreadable = self.dropped = 0
        self.size = 0
        self._kept = {True: WHOLE_KEPT, False: SEGMENT_KEPT}
        self._by_key: dict[bytes, Series] = {}
        self._models: dict[str, list[Series]] = {}
        self._comparisons: dict[str, list[Series]] = {}

    def take(self, key: bytes | None, value: bytes | None) -> str | None:
        """Take in one record; the model it is about, None if it cannot be read."""
        self.records += 1
        place = key.rfind(b',"') if key else -1
        if key is None or place < 0:
            self.unreadable += 1
            return None
        prefix = key[:place]
        series = self._by_key.get(prefix) or self._new(prefix)
        if series is None:
            return None
        start = key[place + 2 : -2].decode()
        before = series.raw.get(start)
        if value is None:
            self._forget(series, [start])
            return series.name.model
        if before is not None:
            if before != value and series.keeps_history:
                try:
                    _remember(series.earlier.setdefault(start, []), before)
                except msgspec.MsgspecError:
                    self.unreadable += 1
                    return None
            self.size -= len(before)
        else:
            self.size += _OVERHEAD
        series.raw[start] = value
        self.size += len(value)
        kept = self._kept[not series.segment]
        if len(series.raw) > kept + (kept >> 2):
            self._trim(series, kept)
        if self.size > self.budget:
            self._shrink()
        return series.name.model

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

    @property
    def windows(self) -> int:
        return sum(len(series.raw) for series in self._by_key.values())

    def _new(self, prefix: bytes) -> Series | None:
        if len(self._by_key) >= SERIES_KEPT:
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
        (self._models if isinstance(name, Name) else self._comparisons).setdefault(name.model, []).append(series)
        return series

    def _trim(self, series: Series, kept: int) -> None:
        gone = series.starts()[: max(len(series.raw) - kept, 0)]
        self.dropped += len(gone)
        self._forget(series, gone)

    def _forget(self, series: Series, starts: Iterable[str]) -> None:
        for start in starts:
            raw = series.raw.pop(start, None)
            series.earlier.pop(start, None)
            if raw is not None:
                self.size -= len(raw) + _OVERHEAD

    def _shrink(self) -> None:
        """Keep fewer windows of everything, segments first, until a fifth of the budget is free."""
        while self.size > self.budget * 0.8:
            whole = self._kept[False] <= SEGMENT_LEAST
            least = WHOLE_LEAST if whole else SEGMENT_LEAST
            if self._kept[whole] <= least:
                return
            self._kept[whole] = max(self._kept[whole] // 2, least)
            for series in self._by_key.values():
                if whole == (not series.segment):
                    self._trim(series, self._kept[whole])


def between(series: Series, since: str = "", until: str = "") -> Iterator[str]:
    """Starts of the windows that begin at or after ``since`` and before ``until``, oldest first."""
    for start in series.starts():
        if (not since or _order(start) >= _order(since)) and (not until or _order(start) < _order(until)):
            yield start


def _remember(held: list[Revision], before: bytes) -> None:
    held.append(_revision(before))
    if len(held) > REVISIONS_KEPT:
        del held[1]


def _order(start: str) -> str:
    """Sorts as time does: without its Z, whole seconds come before their fractions."""
    return start.rstrip("Z")
