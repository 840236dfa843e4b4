"""The windows of one length of a version's segment, or of one comparison of versions, from the topic ``metrics``.

The key of a record says which series it belongs to. The record itself is held as bytes and only decoded when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from tidegauge.console import revisions
from tidegauge.console.revisions import Revision


class Name(msgspec.Struct, frozen=True, array_like=True):
    """The name of a series of windows: the key of a metrics record without the window's start."""

    model: str
    version: str
    segment: dict[str, str]
    window: str


class Comparison(msgspec.Struct, frozen=True, array_like=True):
    """The name of a comparison of two versions: the key of its record without the window's start."""

    model: str
    version: str
    kind: Literal["comparison"]
    champion: str
    monitor: str
    window: str


class Series:
    """Windows by their start (RFC 3339).

    ``keeps_history``: whether earlier revisions are held; only those of whole models are, since segments are many and each
    revision has to be decoded. ``dropped``: how many windows were dropped for lack of memory, all at or before ``floor``, and
    how many records came for such windows later.
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
        """The starts of the windows that are held, the oldest first."""
        return sorted(self.raw, key=order)

    def between(self, since: str = "", until: str = "") -> Iterator[str]:
        """The starts of the windows that begin at or after ``since`` and before ``until``, the oldest first."""
        for start in self.starts():
            if (not since or order(start) >= order(since)) and (not until or order(start) < order(until)):
                yield start

    def newest(self) -> dict[str, Any] | None:
        """The record of the newest window."""
        return _decode(self.raw[max(self.raw, key=order)]) if self.raw else None

    def revisions(self, start: str) -> list[Revision]:
        """All revisions of a window that are held, the oldest first; the last one is the current one."""
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
    """A sort key that orders starts by time. Without the final Z, whole seconds sort before their fractions."""
    return start.rstrip("Z")
