"""Pseudonyms of personal data, made by a keyed hash, so that nobody without the key can find the data by trying values.

The key is a secret of the deployment. Every worker, `replay` and `baseline build` must use the same key, since another key
gives other categories. Without a key, features that should be hashed are dropped.
"""

from __future__ import annotations

import functools
import hmac
import os
from pathlib import Path

from tidegauge.errors import TidegaugeError

VARIABLE = "TIDEGAUGE_PII_KEY_FILE"
LEAST_BYTES = 16
DIGEST_BYTES = 8


def key() -> bytes | None:
    """The key in the file that ``TIDEGAUGE_PII_KEY_FILE`` names; None if the variable is not set. Raises TidegaugeError."""
    path = os.environ.get(VARIABLE)
    return _read(path) if path else None


@functools.lru_cache(maxsize=8)
def _read(path: str) -> bytes:
    try:
        found = Path(path).read_bytes().strip()
    except OSError as error:
        raise TidegaugeError(f"{VARIABLE}: {path} cannot be read: {error}") from error
    if len(found) < LEAST_BYTES:
        raise TidegaugeError(f"{VARIABLE}: {path} is shorter than {LEAST_BYTES} bytes; openssl rand -hex 32 makes a key")
    return found


def pseudonym(text: str, secret: bytes) -> str:
    """The first eight bytes of HMAC-SHA-256 (RFC 2104), in hexadecimal.

    >>> pseudonym("ada@example.org", b"sixteen bytes of")
    '2aeefd5868f718b6'
    """
    return hmac.digest(secret, text.encode("utf-8", "surrogatepass"), "sha256")[:DIGEST_BYTES].hex()
