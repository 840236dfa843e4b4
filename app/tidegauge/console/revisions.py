"""The revisions of a window in short, held as JSON, since objects would take several times the memory."""

from __future__ import annotations

from typing import Any

import msgspec

KEPT = 50
"""The most revisions that are held of one window: the first one and the latest others."""
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
    """One revision of a window, in short."""

    performance: dict[str, Any] = {}
    business: dict[str, Any] = {}


class _Short(_Head, frozen=True, omit_defaults=True):
    """A Revision whose larger members are not decoded."""

    performance: msgspec.Raw = _NOTHING
    business: msgspec.Raw = _NOTHING


read = msgspec.json.Decoder(Revision).decode
"""Decodes the revision in a metrics record, or in what ``shortened`` made of one. Raises MsgspecError."""
_short = msgspec.json.Decoder(_Short).decode
_encode = msgspec.json.Encoder().encode


def shortened(record: bytes) -> bytes:
    """A metrics record reduced to the members of ``Revision``. Raises MsgspecError."""
    return _encode(_short(record))


def limited(revisions: list[bytes]) -> list[bytes]:
    """The first revision and the latest others, at most ``KEPT`` in all.

    >>> kept = limited([str(number).encode() for number in range(60)])
    >>> len(kept), kept[0], kept[1], kept[-1]
    (50, b'0', b'11', b'59')
    """
    return revisions if len(revisions) <= KEPT else [revisions[0], *revisions[1 - KEPT :]]
