"""Pseudonyms of request ids that identify people: keyed hashes, the same for a prediction and its label."""

from __future__ import annotations

import hmac
from pathlib import Path

LEAST_BYTES = 16


def read_key(path: str) -> bytes:
    """The key in a file, without surrounding whitespace. Raises ValueError if it cannot be read."""
    try:
        return Path(path).read_bytes().strip()
    except OSError as error:
        raise ValueError(f"the key for pseudonyms in {path} cannot be read: {error.strerror}") from error


class Pseudonyms:
    """Makes pseudonyms. ``key``: a secret that all processes which log the same requests must share. Raises ValueError if it
    has fewer than LEAST_BYTES bytes."""

    def __init__(self, key: bytes) -> None:
        if len(key) < LEAST_BYTES:
            raise ValueError(f"a key for pseudonyms has {LEAST_BYTES} bytes at least; openssl rand -hex 32 makes one")
        self._key = key

    def of(self, request_id: str) -> str:
        """The pseudonym of a request id: the first sixteen bytes of its HMAC-SHA-256 (RFC 2104) in hexadecimal.

        >>> Pseudonyms(b"sixteen bytes of").of("ada@example.org")
        '2aeefd5868f718b6c46c96e2a9b7a22b'
        """
        return hmac.digest(self._key, request_id.encode(), "sha256")[:16].hex()
