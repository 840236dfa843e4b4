"""The digest by which a forgotten request is recognised, so that later events with its id can be left out."""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 16


def digest_of(request_id: str) -> bytes:
    """The first DIGEST_BYTES bytes of the SHA-256 of a request id.

    >>> digest_of("6f1c").hex()
    '4d482d944eb0a6761a09fc85221d45d5'
    """
    return hashlib.sha256(request_id.encode()).digest()[:DIGEST_BYTES]
