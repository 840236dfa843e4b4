"""Request ids: version 7 UUIDs (RFC 9562), which sort by the millisecond in which they were made."""

from __future__ import annotations

import os
import random
import time

# A generator of its own, since a service may seed Python's. Asking the system each time would release the interpreter lock.
_random = random.Random()
os.register_at_fork(after_in_child=_random.seed)


def new_request_id() -> str:
    """A new id: unique, not secret.

    >>> len(new_request_id()), new_request_id()[14]
    (36, '7')
    """
    milliseconds, bits = time.time_ns() // 1_000_000, _random.getrandbits
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7{bits(12):03x}-{0x8000 | bits(14):04x}-{bits(48):012x}"
