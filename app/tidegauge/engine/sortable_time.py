"""Moments as bytes that sort as time does."""

from __future__ import annotations


def sortable_second(ts: float) -> bytes:
    """The whole second of a moment (Unix seconds), four bytes big endian; what lies outside their range is taken to its end.

    >>> sortable_second(258.9), sortable_second(-1.0)
    (b'\\x00\\x00\\x01\\x02', b'\\x00\\x00\\x00\\x00')
    """
    return min(max(int(ts), 0), 0xFFFFFFFF).to_bytes(4, "big")
