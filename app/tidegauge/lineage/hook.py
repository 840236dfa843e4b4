"""Calls HTTP hooks: requests are signed, repeated after failures, and carry an id by which the receiver recognises
repetitions."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import msgspec

from tidegauge.errors import RegistryError

ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt; the pause doubles before each further one."""
TIMEOUT = 10.0
SHOWN = 2000
"""The most bytes of an answer that are kept."""


class Answer(msgspec.Struct, frozen=True):
    """The answer of a hook. ``text``: its beginning."""

    status: int
    text: str


def signature(secret: str, body: bytes) -> str:
    """The header ``X-Tidegauge-Signature``: the HMAC-SHA256 (RFC 2104) of the body in hexadecimal.

    >>> signature("key", b"The quick brown fox jumps over the lazy dog")[:23]
    'sha256=f7bc83f430538424'
    """
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def call(url: str, body: bytes, secret: str, delivery: str, pause: Callable[[float], None] = time.sleep) -> Answer:
    """POST ``body`` (JSON) until it is accepted, at most ATTEMPTS times, always with the id ``delivery``. A refusal (status 4xx
    except 408 and 429) is final. Raises RegistryError with the last answer of the hook."""
    headers = {
        "Content-Type": "application/json", "X-Tidegauge-Delivery": delivery, "X-Tidegauge-Signature": signature(secret, body),
    }  # fmt: skip
    said = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(PAUSE * 2 ** (attempt - 1))
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=TIMEOUT) as answer:
                return Answer(answer.status, answer.read(SHOWN).decode("utf-8", "replace"))
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.reason}: {error.read(SHOWN).decode('utf-8', 'replace')}".strip(": ")
            if error.code < 500 and error.code not in (408, 429):
                raise RegistryError(f"the hook {url} refused: {said}") from error
        except (OSError, http.client.HTTPException) as error:
            said = str(error)
    raise RegistryError(f"the hook {url} did not take it in {ATTEMPTS} attempts: {said}")
