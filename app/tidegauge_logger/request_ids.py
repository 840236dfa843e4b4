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
    bits = _random.getrandbits(74)
    value = (time.time_ns() // 1_000_000) << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
