"""The consumer that the tasks of a process share while they are taken over: it answers where topics begin and end, and how far
the group has come.

A worker may take over a hundred tasks at once. A consumer for each would open three connections and make seven requests before
its first question.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings


class SharedReader:
    """A consumer of the group that reads nothing. It is started when it is first needed, and stopped when nobody needs it any
    more, so that it is never one that has missed what happened to the cluster in the meantime."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._users = 0
        self._starting: asyncio.Task[Any] | None = None

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        """The consumer, for questions alone. Raises KafkaError if it cannot be started."""
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

    async def _start(self) -> Any:
        client = consumer(self._settings, group_id=self._settings.app_id)
        await client.start()
        return client
