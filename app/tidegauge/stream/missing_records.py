"""Notices records that did not reach their task: they were deleted before they were read, or fetched and then lost on the way
through Faust, as can happen in a rebalance."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

from aiokafka.errors import IllegalStateError
from faust.types.tuples import TP

from tidegauge.stream.consumer import Chunk
from tidegauge.stream.input_task import InputTask
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)
STILL_SECONDS = 5.0
"""Records that have been fetched for so long, and reach no task while none works, are lost."""


class MissingRecords:
    """Looks at every chunk before its task takes it. ``consumer``: returns Faust's consumer, which exists once Faust has
    started."""

    def __init__(self, settings: Settings, consumer: Callable[[], Any]) -> None:
        self._settings, self._consumer = settings, consumer
        # By partition whose fetched records have not reached their task: the task's position, and since when it is there.
        self._still: dict[TP, tuple[int, float]] = {}
        self.on_gone: Callable[[str, int], None] = lambda topic, records: None

    async def begin(self, task: InputTask, topic: str, chunk: Chunk) -> int:
        """The first offset that the chunk's partition has now, if records before the chunk did not reach the task; else 0."""
        if chunk.begin <= task.position(topic):
            return 0
        place = TP(self._settings.topic(topic), task.partition)
        begin: int = (await self._consumer().earliest_offsets(place))[place]
        return begin

    async def fetched_again(self, task: InputTask, topic: str, chunk: Chunk, begin: int) -> bool:
        """Whether records before the chunk are still there and are fetched again, and the chunk with them. ``begin``: the first
        offset of the partition."""
        expected = max(task.position(topic), begin)
        if chunk.begin <= expected:
            return False
        await self._fetch_again(task, topic, expected, chunk.begin)
        return True

    async def look(self, task: InputTask, now: float) -> None:
        """Fetch records again that do not reach a task, though no other ones follow by which it would notice. To be called
        now and then (``now``: s, monotonic clock) while no chunk is on its way to a task of its stage."""
        consumer = self._consumer()
        for topic in task.topics:
            place, position = TP(self._settings.topic(topic), task.partition), task.position(topic)
            fetched = consumer.fetched(place)
            if fetched <= position or not consumer.lag(place, position):
                self._still.pop(place, None)
                continue
            since = self._still.get(place, (-1, now))
            if since[0] != position:
                self._still[place] = position, now
            elif now - since[1] >= STILL_SECONDS:
                del self._still[place]
                await self._fetch_again(task, topic, position, fetched)

    async def _fetch_again(self, task: InputTask, topic: str, begin: int, end: int) -> None:
        """Move the consumer back to the offset ``begin``; those from there to below ``end`` were lost."""
        place = TP(self._settings.topic(topic), task.partition)
        log.warning("%s: offsets %d to %d of %s were lost on the way and are fetched again", task, begin, end - 1, topic)
        with contextlib.suppress(IllegalStateError):
            # Otherwise the partition was just taken away, and its next owner fetches them.
            await self._consumer().seek(place, begin)

    def report_gone(self, task: InputTask, topic: str, chunk: Chunk, begin: int) -> None:
        """Report the records between those that the task has read and the chunk, if they were deleted: the partition begins
        at offset ``begin`` now."""
        gone = task.note_gone(topic, chunk, begin)
        if gone:
            log.error(
                "%s %d: %d records below offset %d were deleted before they were read and never count; keep what is not read "
                "for longer (retention.ms)",
                self._settings.topic(topic), task.partition, gone, begin,
            )  # fmt: skip
            self.on_gone(topic, gone)
