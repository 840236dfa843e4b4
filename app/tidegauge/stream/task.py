"""One task: a stage, a partition, and the transactions that make what it does count exactly once.

take over    a transactional producer of the task's own id fences the former owner; the store is restored from the
             changelog; the group's committed offsets are read again, and records below them are skipped
process      chunks go into the stage's buffers
checkpoint   one transaction carries state changes, outputs and offsets; only then is the local store written
failure      the task is thrown away; whoever owns it next replays what was not committed
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition

from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.stage import Output, Stage
from tidegauge.stream import changelog
from tidegauge.stream.consumer import consumer
from tidegauge.stream.faults import fault_at
from tidegauge.stream.settings import CHANGELOGS, MAX_MESSAGE_BYTES, Settings
from tidegauge.stream.store import RocksStore, weight
from tidegauge.stream.tracing import tracer

log = logging.getLogger(__name__)
StageFactory = Callable[[int, RocksStore], ContainedStage[Any]]


class Task:
    """The task of ``stage`` ("join" or "monitor") for one partition of its input ``topics`` (logical names)."""

    def __init__(
        self, stage: str, partition: int, topics: Sequence[str], factory: StageFactory, settings: Settings, admin: Any
    ) -> None:
        self.name, self.partition = stage, partition
        self.topics, self._factory, self._settings, self._admin = topics, factory, settings, admin
        self._changelog = TopicPartition(settings.topic(CHANGELOGS[stage]), partition)
        self._attributes: dict[str, str | int] = {"tidegauge.stage": stage, "tidegauge.partition": partition}
        self._contained: ContainedStage[Any] | None = None
        self.store: RocksStore | None = None
        self._producer: Any = None
        self._checkpointing = asyncio.Lock()
        self.offsets: dict[str, int] = {}
        self._moved = False
        self.dirty_events = 0
        self.first_dirty = 0.0
        self.last_record = self.last_checkpoint = time.time()
        self.took = 0.0
        """Seconds the last checkpoint took, all in all."""
        self.on_checkpoint: Callable[[str, float], None] = lambda stage, seconds: None
        self.behind: Callable[[], Container[str]] = tuple
        self.quiet: Callable[[float], bool] = lambda seconds: seconds >= settings.idle_timeout
        """Whether the input counts as exhausted, so many seconds after its last record."""
        self.restored_records = 0
        self.checkpoints = 0
        """How many were made."""

    def __str__(self) -> str:
        return f"{self.name}-{self.partition}"

    async def open(self) -> None:
        """Take the task over: fence, restore, find where to go on."""
        settings = self._settings
        began = time.monotonic()
        self._producer = AIOKafkaProducer(
            transactional_id=f"{settings.app_id}-{self}",
            max_request_size=MAX_MESSAGE_BYTES,
            max_batch_size=1 << 20,
            linger_ms=0,
            transaction_timeout_ms=60_000,
            **settings.client(),
        )
        await self._producer.start()
        self.store = RocksStore(settings.state_dir / str(self))
        reader = consumer(settings, group_id=settings.app_id)
        await reader.start()
        try:
            with tracer.start_as_current_span("restore", attributes=self._attributes) as span:
                await self._restore(reader, self.store)
                span.set_attribute("tidegauge.changelog_records", self.restored_records)
            for topic in self.topics:
                committed = await reader.committed(TopicPartition(settings.topic(topic), self.partition))
                self.offsets[topic] = committed or 0
        finally:
            await reader.stop()
        self._contained = self._factory(self.partition, self.store)
        self._sweep = changelog.Sweep(self.store, self._contained)
        self.last_record = self.last_checkpoint = time.time()
        log.info(
            "%s: restored %d changelog records in %.2f s, goes on at %s",
            self, self.restored_records, time.monotonic() - began, self.offsets,
        )  # fmt: skip

    async def _restore(self, reader: Any, store: RocksStore) -> None:
        place = self._changelog
        reader.assign([place])
        begin = (await reader.beginning_offsets([place]))[place]
        end = (await reader.end_offsets([place]))[place]
        position = store.position
        if position is not None and not begin <= position <= end:
            # Deletes between the local position and the log's start are lost, or the log is another one.
            store.wipe()
            position = None
        start = begin if position is None else position
        reader.seek(place, start)
        while start < end:
            for records in (await reader.getmany(place, timeout_ms=500)).values():
                for record in records:
                    fault_at("mid-restore")
                    store.restore(changelog.decode(record.value), record.offset + 1)
                    self.restored_records += 1
            start = await reader.position(place)

    def process(self, topic: str, records: Sequence[Any]) -> int:
        """Take a chunk of ``topic`` (logical), less what was committed before; returns how many records that left."""
        assert self._contained is not None
        resume = self.offsets[topic]
        if records[0].offset < resume:
            records = [record for record in records if record.offset >= resume]
            if not records:
                return 0
        self._contained.process(topic, records)
        self.offsets[topic] = records[-1].offset + 1
        self._moved = True
        now = time.time()
        if not self.dirty_events:
            self.first_dirty = now
        self.dirty_events += len(records)
        self.last_record = now
        return len(records)

    @property
    def stage(self) -> Stage | None:
        """The stage as it stands; None until it is restored."""
        return None if self._contained is None else self._contained.stage

    @property
    def busy(self) -> bool:
        """A checkpoint is under way."""
        return self._checkpointing.locked()

    async def checkpoint(self) -> None:
        """Commit what the stage has buffered. Chunks may be processed meanwhile; they wait for the next one."""
        async with self._checkpointing:
            assert self._contained is not None
            assert self.store is not None
            now = time.time()
            idle = self.quiet(now - self.last_record)
            outputs = self._contained.checkpoint(now, idle=idle, behind=self.behind())
            moved, self._moved = self._moved, False
            events, self.dirty_events = self.dirty_events, 0
            self.last_checkpoint = now
            if not (outputs or moved or self.store.changed):
                return
            began = time.monotonic()
            offsets = {
                TopicPartition(self._settings.topic(topic), self.partition): offset
                for topic, offset in self.offsets.items()
                if offset
            }
            changes = self.store.freeze()
            swept, complete = self._sweep.slice(weight(changes))
            # Live pairs of the slice are in the local store already; only what expired changes there.
            changes.update({key: None for key, value in swept.items() if value is None})
            with tracer.start_as_current_span("checkpoint", attributes=self._attributes) as span:
                span.set_attribute("tidegauge.events", events)
                span.set_attribute("tidegauge.outputs", len(outputs))
                await self._commit(changelog.encode({**swept, **changes}), outputs, offsets, complete)
            self.checkpoints += 1
            self.took = time.time() - now
            self.on_checkpoint(self.name, time.monotonic() - began)

    async def _commit(self, state: list[bytes], outputs: list[Output], offsets: dict[Any, int], complete: bool) -> None:
        assert self.store is not None
        producer, settings = self._producer, self._settings
        fault_at("before-transaction")
        async with producer.transaction():
            sent = [await producer.send(self._changelog.topic, value=record, partition=self.partition) for record in state]
            for output in outputs:
                sent.append(
                    await producer.send(
                        settings.topic(output.topic),
                        value=output.value,
                        key=output.key,
                        partition=output.partition,
                        headers=list(output.headers),
                    )
                )
            fault_at("mid-transaction")
            done = await asyncio.gather(*sent)
            if offsets:
                await producer.send_offsets_to_transaction(offsets, settings.app_id)
            fault_at("before-commit")
        fault_at("after-commit")
        if state:
            self.store.commit(done[len(state) - 1].offset + 1)
            fault_at("after-local-write")
            await self._sweep.committed(done[0].offset, complete, self._admin, self._changelog)

    async def close(self) -> None:
        """Let go. Uncommitted work is lost on purpose."""
        if self._producer is not None:
            # A fenced producer cannot end its transaction, and one whose broker is away may not notice that it is cancelled;
            # there is nothing left to save.
            stopping = asyncio.ensure_future(self._producer.stop())
            await asyncio.wait([stopping], timeout=3)
            if not stopping.cancel() and (error := stopping.exception()) is not None:
                log.info("%s: producer stopped with %r", self, error)
        if self.store is not None:
            self.store.close()
