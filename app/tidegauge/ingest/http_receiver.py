"""Receives CloudEvents by HTTP and writes them to Kafka. The answers:

200        all messages of the request are in Kafka, so a crash of this process cannot lose them
400        a message cannot become an event; the text says what is wrong and where, and none of the messages was written
413        the request is larger than --max-body-mib
503        Kafka does not accept the messages; the sender should send the whole request again
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from tidegauge.errors import EventError
from tidegauge.ingest import cloud_events, exchanges
from tidegauge.ingest.messages import Message
from tidegauge.stream.failures import KafkaError

log = logging.getLogger(__name__)
KEEP_SECONDS = 5.0
"""How long to wait for Kafka to acknowledge messages. A sender that waits may delay the model server's own requests."""
AWAY_SECONDS = 1.0
"""For how long after a failure of Kafka requests are answered 503 without trying."""
Keep = Callable[[Message], Awaitable[None]]
"""Writes a message to Kafka, and returns once Kafka has acknowledged it."""


class _Answer(NamedTuple):
    """The HTTP ``status`` and the ``text`` of a response."""

    status: int
    text: str


class HttpReceiver:
    """Answers HTTP requests. ``keep`` writes a message to Kafka."""

    def __init__(self, keep: Keep, spec_of: exchanges.SpecOf, registry: CollectorRegistry) -> None:
        self._keep, self._spec_of = keep, spec_of
        self._away_until, self._failing = 0.0, False
        self._requests = Counter("tidegauge_ingest_http_requests", "HTTP requests by answer", ["code"], registry=registry)

    @property
    def away(self) -> bool:
        """Whether Kafka has failed to accept a message within the last AWAY_SECONDS."""
        return time.monotonic() < self._away_until

    async def answer(self, request: web.Request) -> web.Response:
        """Write the messages of a request to Kafka, and answer it."""
        status, text = await self._answer(request)
        self._requests.labels(str(status)).inc()
        return web.Response(status=status, text=f"{text}\n", headers={"Retry-After": "1"} if status == 503 else None)

    async def _answer(self, request: web.Request) -> _Answer:
        try:
            messages = cloud_events.from_http(request.headers, await request.read())
            for message in messages:
                exchanges.check(message, self._spec_of)
        except web.HTTPRequestEntityTooLarge as error:
            return _Answer(413, f"{error.text}: see --max-body-mib")
        except web.RequestPayloadError as error:
            return _Answer(400, f"the body cannot be read: {error}")
        except EventError as error:
            return _Answer(400, f"{error.reason}: {error}")
        if self.away:
            return _Answer(503, "Kafka is away; send this again")
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await self._keep_all(messages)
        except (KafkaError, TimeoutError) as error:
            why = str(error) or type(error).__name__
            if not self._failing:
                log.error("Kafka does not take messages, senders are answered 503: %s", why)
            self._failing, self._away_until = True, time.monotonic() + AWAY_SECONDS
            return _Answer(503, f"Kafka does not take this ({why}); send it again")
        if self._failing:
            self._failing = False
            log.warning("Kafka takes messages again")
        return _Answer(200, f"{len(messages)} taken")

    async def _keep_all(self, messages: Sequence[Message]) -> None:
        await asyncio.gather(*(self._keep(message) for message in messages))
