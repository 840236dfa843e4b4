"""Finds out what the broker permits this user to do, without writing a record.

Kafka reveals whether a user may write only when the user tries, so topics are added one by one to a transaction that is then
aborted. This uses request classes of aiokafka for which its administration client has no methods.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    ConcurrentTransactions,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
    for_code,
)
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.transaction import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
)

TIMEOUT_MS = 10_000
ATTEMPTS, PAUSE = 40, 0.25
"""How often a request is tried, and the seconds between two attempts."""
_TRANSACTION, _ABORT = 1, 0
_LATER = (CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError, ConcurrentTransactions)


class AccessProbe(AIOKafkaAdminClient):  # type: ignore[misc]
    """An administration client that also finds out its rights. Methods return the names of Kafka's errors, "" for none."""

    async def api_versions(self) -> dict[int, int]:
        """The newest version of each request that the broker supports, by the number (API key) of the request."""
        answer = await self._send_request(ApiVersionRequest())
        return {key: newest for key, _, newest in answer.api_versions}

    async def topic_errors(self, names: Sequence[str]) -> dict[str, str]:
        """The reason why each topic cannot be described. Creates no topic."""
        answer = await self._send_request(MetadataRequest(list(names), allow_auto_topic_creation=False))
        return {topic["topic"]: _error(topic["error_code"]) for topic in answer.to_object()["topics"]}

    async def write_errors(self, transactional_id: str, group: str, topics: Sequence[str]) -> dict[str, str]:
        """The reasons why ``transactional_id`` may not write to each topic and may not commit offsets of ``group``.
        The key "" has the reason why it may not write at all."""
        found: dict[str, str] = {}

        async def begin() -> Any:
            node = await self.find_coordinator(transactional_id, _TRANSACTION)
            begun = await self._send_request_to_node(node, InitProducerIdRequest(transactional_id, TIMEOUT_MS))
            _raise(begun.error_code)
            return node, (transactional_id, begun.producer_id, begun.producer_epoch)

        try:
            node, producer = await _patiently(begin)
        except KafkaError as error:
            return {"": type(error).__name__}

        async def ask(request: Any) -> None:
            answer = await self._send_request_to_node(node, request)
            codes = (
                [code for _, parts in answer.errors for _, code in parts] if hasattr(answer, "errors") else [answer.error_code]
            )
            _raise(codes[0])

        questions = {topic: AddPartitionsToTxnRequest(*producer, [(topic, [0])]) for topic in topics}
        for name, request in {**questions, group: AddOffsetsToTxnRequest(*producer, group)}.items():
            try:
                await _patiently(partial(ask, request))
                found[name] = ""
            except KafkaError as error:
                found[name] = type(error).__name__
        if not all(found.values()):
            await _patiently(partial(ask, EndTxnRequest(*producer, _ABORT)))
        return found


async def _patiently(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Repeat a request as long as Kafka answers with a temporary error: a coordinator is loading, a transaction is ending."""
    for attempt in range(ATTEMPTS):
        try:
            return await ask()
        except _LATER:
            if attempt == ATTEMPTS - 1:
                raise
            await asyncio.sleep(PAUSE)


def _raise(code: int) -> None:
    if code:
        raise for_code(code)


def _error(code: int) -> str:
    return for_code(code).__name__ if code else ""
