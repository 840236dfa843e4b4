"""A producer of events, for services and for `tidegauge produce`: with the keys and the partitioner that the topics need.

async with Client("kafka:9092") as log:
    await log.prediction(request_id="6f1c", ts=time.time(), model_version="churn:3", prediction=1, features={...})
    ...
    await log.label(request_id="6f1c", ts=time.time(), label=0)
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from tidegauge.engine.stage import LABELS, PREDICTIONS


class Client:
    """Sends prediction and label events. Kafka's default (murmur2) partitioner and the request id as key bring a label
    to its prediction. ``topics``: names other than the default ones; ``client``: aiokafka's keyword arguments."""

    def __init__(self, bootstrap_servers: str, topics: Mapping[str, str] | None = None, **client: Any) -> None:
        self._topics = {PREDICTIONS: PREDICTIONS, LABELS: LABELS, **(topics or {})}
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            linger_ms=5,
            max_batch_size=1 << 18,
            max_request_size=16 << 20,
            **client,
        )

    async def __aenter__(self) -> Client:
        await self._producer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._producer.stop()

    async def prediction(self, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        """Queue a prediction event (members as in the contract); returns once it is in the send buffer. A ``traceparent``
        header (``opentelemetry.propagate.inject(headers)`` writes it) leads alerts to the request's trace."""
        await self.send(PREDICTIONS, members["request_id"].encode(), msgspec.json.encode(members), headers)

    async def label(self, **members: Any) -> None:
        """Queue a label event."""
        await self.send(LABELS, members["request_id"].encode(), msgspec.json.encode(members))

    async def forget(self, request_id: str, ts: float) -> asyncio.Future[Any]:
        """Ask that nothing be kept of a request, as of ``ts``; the future tells when that is acknowledged."""
        asked = {"request_id": request_id, "ts": ts, "forget": True}
        return await self.send(LABELS, request_id.encode(), msgspec.json.encode(asked))

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Any]:
        """Queue a raw event for the logical ``topic``; the future tells when it is acknowledged."""
        found = [(name, text.encode()) for name, text in (headers or {}).items()]
        sent: asyncio.Future[Any] = await self._producer.send(self._topics[topic], value=value, key=key, headers=found)
        return sent

    async def flush(self) -> None:
        await self._producer.flush()


class _Id(msgspec.Struct, gc=False):
    request_id: str = ""


_id = msgspec.json.Decoder(_Id).decode


def key_of(line: bytes) -> bytes | None:
    """The key an event goes by: its request id; None where it cannot be read (the worker will say why)."""
    try:
        return _id(line).request_id.encode() or None
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    try:
        # NaN tokens are no JSON, and accepted all the same.
        return str(json.loads(line)["request_id"]).encode() or None
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


class EventToSend(NamedTuple):
    """An event as JSON in ``value``, and the logical topic that it goes to."""

    topic: str
    value: bytes


async def produce(
    client: Client,
    events: Iterable[EventToSend],
    rate: float | None = None,
    progress: Callable[[int], None] = lambda sent: None,
) -> int:
    """Send events, at most ``rate`` a second; return how many were acknowledged. ``progress``: called with the number sent."""
    began, sent = time.monotonic(), 0
    for event in events:
        await client.send(event.topic, key_of(event.value), event.value)
        sent += 1
        if sent % 500 == 0:
            progress(sent)
            ahead = sent / rate - (time.monotonic() - began) if rate else 0.0
            await asyncio.sleep(max(ahead, 0.0))
    await client.flush()
    progress(sent)
    return sent
