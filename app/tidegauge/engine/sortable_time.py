"""Times as bytes whose order is the order in time."""

from __future__ import annotations


def sortable_second(ts: float) -> bytes:
    """The whole second of a time (Unix seconds) as four bytes, big-endian; times outside their range are clipped to it.

    >>> sortable_second(258.9), sortable_second(-1.0)
    (b'\\x00\\x00\\x01\\x02', b'\\x00\\x00\\x00\\x00')
    """
    return min(max(int(ts), 0), 0xFFFFFFFF).to_bytes(4, "big")
