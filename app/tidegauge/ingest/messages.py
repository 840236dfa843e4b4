"""One message of a model server: a request it was sent, or the response it gave. Two messages of one ``id`` are an exchange."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tidegauge.engine.events import timestamp
from tidegauge.errors import EventError

BAD_INFERENCE = "bad_inference"
"""The reason (see ``engine/refusals.py``) of a message that cannot be read, or does not hold what the spec says it holds."""
MAX_ID = 256
Kind = Literal["request", "response"]


class Message(msgspec.Struct, frozen=True):
    """``server``: what the model is called at the server, None where only the body may say. ``time``: Unix seconds, None where
    the message says none. ``component``: which part of an inference service logged it."""

    id: str
    kind: Kind
    body: bytes
    server: str | None = None
    time: float | None = None
    component: str = ""
    endpoint: str = ""
    protobuf: bool = False


def bad(message: str) -> EventError:
    """The error of a message that cannot be used."""
    return EventError(BAD_INFERENCE, message)


def checked_id(given: Any, where: str) -> str:
    """Raises EventError for what is no id of an exchange."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_ID:
        raise EventError("bad_request_id", f"{where} must have 1 to {MAX_ID} characters; request and response are joined by it")
    if not is_text(given):
        raise EventError("bad_request_id", f"{where} is not valid text")
    return given


def is_text(given: str) -> bool:
    """Whether UTF-8 can carry it: no lone surrogate, which stands for a byte of a header that is no UTF-8."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def moment(text: Any, where: str) -> float | None:
    """Unix seconds of an RFC 3339 text; None for None. Raises EventError."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise EventError("bad_timestamp", f"{where} is no text; RFC 3339 wants one as 2025-09-27T00:00:00Z")
    try:
        return timestamp(text)
    except EventError as error:
        raise EventError(error.reason, f"{where}: {error}") from None
