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
    # One call formats all parts, in half the time of an f-string, which formats each by itself.
    parts = milliseconds >> 16, milliseconds & 0xFFFF, bits(12), 0x8000 | bits(14), bits(48)
    return "%08x-%04x-7%03x-%04x-%012x" % parts  # noqa: UP031
