"""The windows of one length of a version and segment, or of one comparison of versions, as the topic ``metrics`` tells them.

A record's key says whose window it is. The record itself is kept as the bytes it came as and decoded when somebody looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from tidegauge.console import revisions
from tidegauge.console.revisions import Revision


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
    """Windows by start (RFC 3339).

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
        """Starts of the windows that are kept, oldest first."""
        return sorted(self.raw, key=order)

    def between(self, since: str = "", until: str = "") -> Iterator[str]:
        """Starts of the windows that begin at or after ``since`` and before ``until``, oldest first."""
        for start in self.starts():
            if (not since or order(start) >= order(since)) and (not until or order(start) < order(until)):
                yield start

    def newest(self) -> dict[str, Any] | None:
        """The record of the newest window."""
        return _decode(self.raw[max(self.raw, key=order)]) if self.raw else None

    def revisions(self, start: str) -> list[Revision]:
        """Every revision of a window that is remembered, oldest first; the last is the one that stands."""
        raw = self.raw.get(start)
        return [] if raw is None else [revisions.read(one) for one in (*self.earlier.get(start, ()), raw)]


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_name = msgspec.json.Decoder(Name).decode
_comparison = msgspec.json.Decoder(Comparison).decode


def read_name(prefix: bytes) -> Name | Comparison | None:
    """The name in a record's key, up to the comma before the window's start; None if it cannot be read.

    >>> read_name(b'["churn","churn:3",{},"1h"')
    Name(model='churn', version='churn:3', segment={}, window='1h')
    """
    for read in (_name, _comparison):
        try:
            return read(prefix + b"]")
        except (msgspec.MsgspecError, RecursionError):
            continue
    return None


def order(start: str) -> str:
    """Sorts as time does: without its Z, whole seconds come before their fractions."""
    return start.rstrip("Z")
