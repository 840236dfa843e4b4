"""What the revisions of a window said, in short; kept as JSON, since objects would take several times the memory."""

from __future__ import annotations

from typing import Any

import msgspec

KEPT = 50
"""Revisions remembered of one window: the first, and the latest others."""
_NOTHING = msgspec.Raw(b"{}")


class _Head(msgspec.Struct, frozen=True, omit_defaults=True):
    revision: int
    reason: str
    predictions: int
    labels: int
    closed: bool
    settled: bool = False
    coverage: float | None = None


class Revision(_Head, frozen=True, omit_defaults=True):
    """What one revision of a window said, in short."""

    performance: dict[str, Any] = {}
    business: dict[str, Any] = {}


class _Short(_Head, frozen=True, omit_defaults=True):
    """The same, with the larger members left as they are written."""

    performance: msgspec.Raw = _NOTHING
    business: msgspec.Raw = _NOTHING


read = msgspec.json.Decoder(Revision).decode
"""The revision that a metrics record, or what ``shortened`` made of one, tells of. Raises MsgspecError."""
_short = msgspec.json.Decoder(_Short).decode
_encode = msgspec.json.Encoder().encode


def shortened(record: bytes) -> bytes:
    """A metrics record less what ``Revision`` does not tell. Raises MsgspecError."""
    return _encode(_short(record))


def limited(revisions: list[bytes]) -> list[bytes]:
    """The first and the latest others, ``KEPT`` in all.

    >>> kept = limited([str(number).encode() for number in range(60)])
    >>> len(kept), kept[0], kept[1], kept[-1]
    (50, b'0', b'11', b'59')
    """
    return revisions if len(revisions) <= KEPT else [revisions[0], *revisions[1 - KEPT :]]
