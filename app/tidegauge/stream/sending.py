"""Waits for the broker to acknowledge records, and explains its refusals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError

from tidegauge.errors import TopicError
from tidegauge.stream.settings import MAX_MESSAGE_BYTES

Sent = tuple[str, asyncio.Future[Any]]
"""A topic, and the acknowledgement of a record or batch that was queued for it."""


@contextlib.contextmanager
def refusals_explained(topic: str) -> Iterator[None]:
    """Raise TopicError, which says what to do, if the broker refuses a record of ``topic`` for its size or its timestamp."""
    try:
        yield
    except MessageSizeTooLargeError as error:
        raise TopicError(
            f"topic {topic} refuses a record because of its size: set its max.message.bytes to {MAX_MESSAGE_BYTES}, and if it "
            "is replicated, replica.fetch.max.bytes of the brokers too"
        ) from error
    except InvalidTimestampError as error:
        raise TopicError(
            f"topic {topic} refuses a record because of its timestamp: the clock of this machine is too far from the broker's "
            "(message.timestamp.after.max.ms, an hour unless set); set the clock right"
        ) from error


async def acknowledged(sent: Sequence[Sent]) -> list[Any]:
    """The acknowledgements of all records, once the broker has them. Raises TopicError as ``refusals_explained`` does."""
    found = []
    for topic, future in sent:
        with refusals_explained(topic):
            found.append(await future)
    return found
