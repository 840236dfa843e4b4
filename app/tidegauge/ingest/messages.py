"""A message of a model server: a request that was sent to it, or its response. The two with the same ``id`` are an exchange."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tidegauge.engine.events import timestamp
from tidegauge.errors import EventError

BAD_INFERENCE = "bad_inference"
"""The reason (see ``engine/refusals.py``) of a message that cannot be read, or does not have what the spec says."""
MAX_ID = 256
Kind = Literal["request", "response"]


class Message(msgspec.Struct, frozen=True):
    """A request or response. ``server``: the model's name at the server, None if only the body may have it. ``time``: Unix
    seconds, None if the message has no time. ``component``: the part of an inference service that logged it. ``request_id``:
    the id that the client knows, None if that is ``id``."""

    id: str
    kind: Kind
    body: bytes
    server: str | None = None
    time: float | None = None
    component: str = ""
    endpoint: str = ""
    protobuf: bool = False
    request_id: str | None = None


def bad(message: str) -> EventError:
    """The error of a message that cannot be used."""
    return EventError(BAD_INFERENCE, message)


def checked_id(given: Any, where: str) -> str:
    """``given``, if it can be the id of an exchange; else raises EventError. ``where``: where it was found, for the message."""
    if not isinstance(given, str) or not 0 < len(given) <= MAX_ID:
        raise EventError("bad_request_id", f"{where} must have 1 to {MAX_ID} characters; request and response are joined by it")
    if not is_text(given):
        raise EventError("bad_request_id", f"{where} is not valid text")
    return given


def is_text(given: str) -> bool:
    """Whether UTF-8 can encode a text. It cannot if a header had bytes that are not UTF-8, which are lone surrogates here."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def moment(text: Any, where: str) -> float | None:
    """The Unix seconds of a text in the format of RFC 3339; None for None. Raises EventError."""
    if text is None:
        return None
    if not isinstance(text, str):
        raise EventError("bad_timestamp", f"{where} is no text; RFC 3339 wants one as 2025-09-27T00:00:00Z")
    try:
        return timestamp(text)
    except EventError as error:
        raise EventError(error.reason, f"{where}: {error}") from None
