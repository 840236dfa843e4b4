"""The consumer that the tasks of a process share while they are taken over: it answers where topics begin and end, and how far
the group has come.

A worker may take over a hundred tasks at once. A consumer for each would open three connections and make seven requests before
its first question, and each question would be a request of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

from aiokafka import TopicPartition

from tidegauge.stream.consumer import committed, consumer
from tidegauge.stream.settings import Settings

Offsets = dict[TopicPartition, int]


class SharedQuestion:
    """A question about partitions that many tasks ask at once. While one request is on its way, the questions that come wait,
    and are asked together in the next, so that every answer is of a moment after its question.

    ``ask``: asks about partitions; those of which there is nothing to say may be missing from its answer.
    """

    def __init__(self, ask: Callable[[list[TopicPartition]], Awaitable[Offsets]]) -> None:
        self._ask = ask
        self._one_at_a_time = asyncio.Lock()
        self._places: set[TopicPartition] = set()
        self._next: asyncio.Task[Offsets] | None = None
        self._requests: set[asyncio.Task[Offsets]] = set()

    async def __call__(self, places: Collection[TopicPartition]) -> Offsets:
        """The offsets of these partitions. Raises what the request raises."""
        self._places.update(places)
        if self._next is None:
            self._next = asyncio.create_task(self._request())
            self._requests.add(self._next)
            self._next.add_done_callback(self._answered)
        # A task whose takeover is cancelled leaves the others their answer.
        answer = await asyncio.shield(self._next)
        return {place: answer[place] for place in places if place in answer}

    async def _request(self) -> Offsets:
        async with self._one_at_a_time:
            places, self._places, self._next = self._places, set(), None
            return await self._ask(sorted(places))

    def _answered(self, request: asyncio.Task[Offsets]) -> None:
        self._requests.discard(request)
        # Whoever asked may have been cancelled, so that nobody else looks at an error.
        if not request.cancelled():
            request.exception()

    async def stop(self) -> None:
        """Give up the requests that nobody waits for any more."""
        for request in self._requests:
            request.cancel()
        await asyncio.gather(*self._requests, return_exceptions=True)


class OffsetReader:
    """Answers tasks' questions with a consumer that is started and reads nothing."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.beginnings = SharedQuestion(client.beginning_offsets)
        self.ends = SharedQuestion(client.end_offsets)
        self.committed = SharedQuestion(lambda places: committed(client, places))
        """What the group has committed; without partitions where it has committed nothing."""

    async def stop(self) -> None:
        for question in (self.beginnings, self.ends, self.committed):
            await question.stop()
        await self._client.stop()


class SharedReader:
    """An ``OffsetReader`` that is started when it is first needed, and stopped when nobody needs it any more, so that it is
    never one that has missed what happened to the cluster in the meantime."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._users = 0
        self._starting: asyncio.Task[OffsetReader] | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[OffsetReader]:
        """Raises KafkaError if its consumer cannot be started."""
        self._users += 1
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        try:
            # A task whose takeover is cancelled leaves the others their consumer.
            yield await asyncio.shield(self._starting)
        finally:
            self._users -= 1
            if not self._users:
                starting, self._starting = self._starting, None
                await asyncio.wait([starting])
                if starting.exception() is None:
                    await starting.result().stop()

    async def _start(self) -> OffsetReader:
        client = consumer(self._settings, group_id=self._settings.app_id)
        await client.start()
        return OffsetReader(client)
