"""The common part of all tasks: a task owns one partition of some topics, and commits its work on their records in
transactions.

When a task is opened, a transactional producer with the task's own id fences off the former owner; the group's committed
offsets are read again, and records below them are skipped. Each checkpoint is one transaction that includes the offsets it has
reached.
"""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from tidegauge.engine.input_bytes import bytes_of
from tidegauge.engine.refusals import letter_of_gone
from tidegauge.engine.stage import Output, Stage
from tidegauge.stream.sending import QueuedRecord, refusals_explained
from tidegauge.stream.settings import INPUT_OF, MAX_MESSAGE_BYTES, Settings
from tidegauge.stream.store import RocksStore

log = logging.getLogger(__name__)
Offsets = dict[TopicPartition, OffsetAndMetadata]


class InputTask(ABC):
    """The task ``name`` of one ``partition`` of its input ``topics`` (logical names)."""

    def __init__(self, name: str, partition: int, topics: Sequence[str], settings: Settings) -> None:
        self.name, self.partition, self.topics, self._settings = name, partition, topics, settings
        self._attributes: dict[str, str | int] = {"tidegauge.stage": name, "tidegauge.partition": partition}
        self.store: RocksStore | None = None
        self._producer: Any = None
        self._checkpointing = asyncio.Lock()
        self.offsets: dict[str, int] = {}
        """By topic, the offset to commit: that after the last record processed."""
        self._positions: dict[str, int] = {}
        self._moved = False
        self.dirty_events = self.dirty_bytes = 0
        """How many records have been taken since the last checkpoint, and how many bytes their values have."""
        self.last_record = self.last_checkpoint = time.monotonic()
        """Both by the monotonic clock, because the wall clock may be set back."""
        self.took = 0.0
        """Seconds the last checkpoint took, all in all."""
        self.on_checkpoint: Callable[[str, float], None] = lambda stage, seconds: None
        self.restored_records = 0
        self._letters: list[Output] = []
        self.checkpoints = 0
        """How many were made."""

    def __str__(self) -> str:
        return f"{self.name}-{self.partition}"

    async def open(self) -> None:
        """Take over the task: fence off the former owner, restore the state, and find the offsets to continue from."""
        self._producer = await self._started_producer(f"{self._settings.app_id}-{self}")
        await self._take_over()
        self.last_record = self.last_checkpoint = time.monotonic()

    async def _started_producer(self, transactional_id: str) -> Any:
        producer = AIOKafkaProducer(
            transactional_id=transactional_id,
            max_request_size=MAX_MESSAGE_BYTES,
            max_batch_size=1 << 20,
            linger_ms=0,
            transaction_timeout_ms=60_000,
            **self._settings.client(),
        )
        await producer.start()
        return producer

    @abstractmethod
    async def _take_over(self) -> None:
        """Restore the state and set ``offsets``; called once the former owner is fenced off."""

    def _place(self, topic: str) -> TopicPartition:
        return TopicPartition(self._settings.topic(topic), self.partition)

    def position(self, topic: str) -> int:
        """The offset up to which all of ``topic`` (logical) is processed: the end of its last chunk, beyond ``offsets`` if
        markers of transactions follow on its last record."""
        return max(self._positions.get(topic, 0), self.offsets[topic])

    def process(self, topic: str, records: Sequence[Any], end: int) -> int:
        """Take a chunk of the logical ``topic`` up to the offset ``end``, without records that were committed before; return
        how many remained."""
        resume = self.offsets[topic]
        self._positions[topic] = max(self.position(topic), end)
        if records[0].offset < resume:
            records = [record for record in records if record.offset >= resume]
            if not records:
                return 0
        self._take(topic, records)
        self.offsets[topic] = records[-1].offset + 1
        self._moved = True
        self.dirty_events += len(records)
        self.dirty_bytes += bytes_of(records)
        self.last_record = time.monotonic()
        return len(records)

    def note_gone(self, topic: str, records: Sequence[Any], begin: int) -> int:
        """Return how many records of ``topic`` (logical) were deleted before the task read them, and queue a dead letter that
        says so. ``records``: the next chunk; ``begin``: the first offset of the partition now. Markers of transactions
        among the deleted records are counted as records. A task that has never read anything misses none."""
        first, following = self.position(topic), int(min(begin, records[0].offset))
        if not self.offsets[topic] or following <= first:
            return 0
        self.offsets[topic] = following
        self._letters.append(letter_of_gone(INPUT_OF.get(topic, topic), self.partition, first, following))
        return following - first

    def _taken_letters(self) -> list[Output]:
        """The queued dead letters, which the caller writes in its transaction."""
        letters, self._letters = self._letters, []
        return letters

    async def _queue(self, topic: str, **record: Any) -> QueuedRecord:
        """Queue a record of ``topic`` in the transaction."""
        with refusals_explained(topic):
            return QueuedRecord(topic, await self._producer.send(topic, **record))

    async def _queue_output(self, output: Output) -> QueuedRecord:
        return await self._queue(
            self._settings.topic(output.topic),
            value=output.value,
            key=output.key,
            partition=output.partition,
            headers=list(output.headers),
        )

    @abstractmethod
    def _take(self, topic: str, records: Sequence[Any]) -> None:
        """Take records that were not committed before."""

    @property
    @abstractmethod
    def opened(self) -> bool:
        """Whether records can be processed."""

    @property
    def stage(self) -> Stage | None:
        """The stage; None for a task without one, or until it is restored."""
        return None

    @property
    def unfinished(self) -> bool:
        """Whether the last checkpoint left work, so that the next one should follow without waiting for records."""
        return False

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being made."""
        return self._checkpointing.locked()

    async def checkpoint(self) -> None:
        """Commit the buffered records. Chunks that are processed in the meantime are part of the next checkpoint."""
        async with self._checkpointing:
            now = time.monotonic()
            moved, self._moved = self._moved, False
            events, self.dirty_events, self.dirty_bytes = self.dirty_events, 0, 0
            self.last_checkpoint = now
            seconds = await self._commit(events, moved)
            if seconds is not None:
                self.checkpoints += 1
                self.took = time.monotonic() - now
                self.on_checkpoint(self.name, seconds)

    @abstractmethod
    async def _commit(self, events: int, moved: bool) -> float | None:
        """Commit in one transaction the work on ``events`` records; return how many seconds that took, None if there was
        nothing to commit. ``moved``: whether the offsets have advanced. Until the first ``await`` no other records are
        processed."""

    def _reached(self, note: str = "") -> Offsets:
        """The offsets to commit, with ``note`` as their metadata."""
        return {self._place(topic): OffsetAndMetadata(offset, note) for topic, offset in self.offsets.items() if offset}

    async def close(self) -> None:
        """Close the task. Uncommitted work is discarded on purpose."""
        if self._producer is not None:
            # A fenced-off producer cannot end its transaction, and one without a broker may not notice its cancellation. There
            # is nothing left to save, so do not wait for it.
            stopping = asyncio.ensure_future(self._producer.stop())
            await asyncio.wait([stopping], timeout=3)
            if not stopping.cancel() and (error := stopping.exception()) is not None:
                log.info("%s: producer stopped with %r", self, error)
        if self.store is not None:
            self.store.close()
