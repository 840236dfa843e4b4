"""Waits for the broker to acknowledge records, and explains its refusals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError

from tidegauge.errors import TopicError
from tidegauge.stream.settings import MAX_MESSAGE_BYTES


class QueuedRecord(NamedTuple):
    """A record or a batch of records that was queued for ``topic``, and the broker's ``acknowledgement`` to come."""

    topic: str
    acknowledgement: asyncio.Future[Any]


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


async def acknowledged(queued: Sequence[QueuedRecord]) -> list[Any]:
    """The acknowledgements of all records, once the broker has them. Raises TopicError as ``refusals_explained`` does."""
    found = []
    for topic, acknowledgement in queued:
        with refusals_explained(topic):
            found.append(await acknowledgement)
    return found
