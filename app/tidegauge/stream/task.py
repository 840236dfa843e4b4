"""One task: a stage, a partition, and the transactions that make its work count exactly once.

take over    a transactional producer with the task's own id fences off the former owner; the store is restored from the
             changelog; the group's committed offsets are read again, and records below them are skipped
process      chunks are added to the stage's buffers
checkpoint   one transaction contains state changes, outputs and offsets; only afterwards is the local store updated
failure      the task is discarded; its next owner processes again what was not committed
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError, NodeNotReadyError
from aiokafka.structs import OffsetAndMetadata

from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.stage import DEAD_LETTERS, PREDICTIONS, PROFILES, Behind, Output, Stage
from tidegauge.errors import StateError, StreamError
from tidegauge.stream import changelog, rekeyed_origins, state_format, stored_offsets
from tidegauge.stream.committed_offsets import committed_offsets
from tidegauge.stream.consumer import consumer
from tidegauge.stream.faults import fault_at
from tidegauge.stream.input_task import InputTask, Offsets
from tidegauge.stream.rekeying import given_back
from tidegauge.stream.sending import acknowledged
from tidegauge.stream.settings import CHANGELOGS, INPUT_OF, REKEYED, Settings
from tidegauge.stream.shared_reader import OffsetReader, SharedReader
from tidegauge.stream.store import Changes, RocksStore, weight
from tidegauge.stream.stored_offsets import InputPartition
from tidegauge.stream.tracing import tracer

log = logging.getLogger(__name__)
StageFactory = Callable[[int, RocksStore], ContainedStage[Any]]
ATTEMPTS = 20
"""How often a broker is asked, every half second, which topics there are, or what the group has committed."""
PURGE_SECONDS = 30.0
"""Seconds between two deletions of input records whose work is committed."""
PURGED = {PROFILES: 200, **dict.fromkeys(REKEYED.values(), 0)}
"""The inputs that only tasks need, from which they delete what they have processed, and how many offsets of each they leave:
the console starts with the newest profiles."""


class Task(InputTask):
    """The task of ``stage`` ("join" or "monitor") for one partition of its inputs."""

    def __init__(self, stage: str, partition: int, factory: StageFactory, settings: Settings, admin: Any) -> None:
        super().__init__(stage, partition, settings.inputs[stage], settings)
        self._factory, self._admin = factory, admin
        self._changelog = TopicPartition(settings.topic(CHANGELOGS[stage]), partition)
        self._contained: ContainedStage[Any] | None = None
        self.behind: Callable[[], Behind] = dict
        self.quiet: Callable[[float], bool] = lambda seconds: seconds >= settings.idle_timeout
        """Whether the input counts as exhausted, so many seconds after its last record."""
        self.restoring = asyncio.Semaphore()
        """Acquired while the changelog is read; shared by the tasks of a process."""
        self.reader = SharedReader(settings)
        """Asked for offsets; shared by the tasks of a process."""
        self._rekeyed = not INPUT_OF.keys().isdisjoint(self.topics)
        self._origins: dict[InputPartition, int] = {}
        """Where inputs are re-keyed: how far the state includes their partitions."""
        self._purged: tuple[float, dict[TopicPartition, int]] = (time.monotonic(), {})
        self._may_purge = True

    async def _take_over(self) -> None:
        began = time.monotonic()
        if PREDICTIONS in self.topics and self._settings.topic(REKEYED[PREDICTIONS]) in await self._topic_names():
            raise StreamError("re-keying was turned on meanwhile; this worker has to start anew")
        self.store = RocksStore(self._settings.state_dir / str(self))
        self.store.claim(self._changelog.topic)
        async with self.reader.opened() as reader:
            with tracer.start_as_current_span("restore", attributes=self._attributes) as span:
                written = await self._restore(reader, self.store)
                span.set_attribute("tidegauge.changelog_records", self.restored_records)
            committed = await reader.committed([self._place(topic) for topic in self.topics])
            self.offsets.update({topic: committed.get(self._place(topic), 0) for topic in self.topics})
            if not written and any(self.offsets.values()):
                await self._refuse_to_begin_anew()
            await self._require_nothing_twice(reader)
        state_format.check(self.store, str(self))
        self._contained = self._factory(self.partition, self.store)
        self._sweep = changelog.RollingSnapshot(self.store, self._contained)
        log.info(
            "%s: restored %d changelog records in %.2f s, goes on at %s",
            self, self.restored_records, time.monotonic() - began, self.offsets,
        )  # fmt: skip

    async def _topic_names(self) -> list[str]:
        """The names of all topics. The admin client asks any broker, perhaps one that has just died, which it then learns."""
        for _ in range(ATTEMPTS):
            try:
                return await self._admin.list_topics()  # type: ignore[no-any-return]
            except NodeNotReadyError:
                await asyncio.sleep(0.5)
        raise StreamError("the names of the topics cannot be read: no broker answers")

    async def _refuse_to_begin_anew(self) -> NoReturn:
        """Raise StateError, since offsets were committed but no state is left."""
        # Every commit of a task includes the format of its state, so its changelog cannot be empty.
        await self._refuse(
            f"the changelog of {self} ({self._changelog.topic}, partition {self.partition}) is empty, though records "
            f"were processed (up to {self.offsets}): it was deleted, and the state with it; stop all workers and run "
            "tidegauge state rebuild, which makes it anew from the topics"
        )

    async def _refuse(self, why: str) -> NoReturn:
        """Raise StateError; ProducerFenced if it is another owner that has committed something while this one was reading."""
        async with self._producer.transaction():
            # Only a producer that is not fenced off gets this far; the error aborts the transaction.
            offsets = {self._place(topic): OffsetAndMetadata(offset, "") for topic, offset in self.offsets.items()}
            await self._producer.send_offsets_to_transaction(offsets, self._settings.app_id)
            raise StateError(why)

    async def _require_nothing_twice(self, reader: OffsetReader) -> None:
        """Raise StateError if records that the state includes would be read or re-keyed again, since the group's offsets were
        lost."""
        assert self.store is not None
        stored = stored_offsets.read(self.store, self.partition)
        at = {InputPartition(topic, self.partition): offset for topic, offset in self.offsets.items()}
        if self._rekeyed:
            self._origins = {of: offset for of, offset in stored.items() if of.topic in REKEYED}
            at |= await self._rekeyed_up_to(self._origins)
        for of, offset in stored.items():
            if at.get(of, offset) >= offset:
                continue
            place = TopicPartition(self._settings.topic(of.topic), of.partition)
            begin, end = (await reader.beginnings([place]))[place], (await reader.ends([place]))[place]
            # A topic that was deleted and made anew is shorter, and its records are others.
            if max(begin, at[of]) < offset <= end:
                await self._refuse(
                    f"the state of {self} includes {place.topic}, partition {place.partition}, up to offset {offset}, but the "
                    f"group {self._settings.app_id} is at {at[of]}: its offsets were reset, or Kafka forgot them "
                    "because no worker ran for a week (offsets.retention.minutes). So that nothing counts twice, stop all "
                    "workers and run tidegauge state rebuild, which makes the state anew from the topics"
                )
            if end < offset:
                self._origins.pop(of, None)

    async def _rekeyed_up_to(self, origins: Mapping[InputPartition, int]) -> dict[InputPartition, int]:
        """The offsets up to which the group has re-keyed these partitions. What a transaction has written can be read a moment
        before the offsets that it commits; if these are below the ``origins`` in the state, they are read again for a while."""
        places = {of: TopicPartition(self._settings.topic(of.topic), of.partition) for of in origins}
        found: dict[InputPartition, int] = {}
        for attempt in range(ATTEMPTS if places else 0):
            if attempt:
                await asyncio.sleep(0.5)
            committed = await committed_offsets(self._admin, self._settings.app_id, list(places.values()))
            found = {of: max(committed[place].offset, 0) for of, place in places.items()}
            if all(found[of] >= offset for of, offset in origins.items()):
                break
        return found

    async def _restore(self, reader: OffsetReader, store: RocksStore) -> bool:
        """Apply the changelog to the store up to its end; return whether anything was ever committed to the changelog."""
        place = self._changelog
        begins, ends = await asyncio.gather(reader.beginnings([place]), reader.ends([place]))
        begin, end = begins[place], ends[place]
        position = store.position
        if position is not None and not begin <= position <= end:
            # The changelog no longer has the deletes after the local position, or it is a different one.
            store.wipe()
            position = None
        start = begin if position is None else position
        if start < end:
            async with self.restoring:
                await self._read_changelog(store, start, end)
        return store.position is not None

    async def _read_changelog(self, store: RocksStore, start: int, end: int) -> None:
        """Apply the changelog to the store, from the offset ``start`` up to ``end``."""
        reader, place = consumer(self._settings), self._changelog
        await reader.start()
        try:
            reader.assign([place])
            reader.seek(place, start)
            await self._apply(reader, store, end)
        finally:
            await reader.stop()

    async def _apply(self, reader: Any, store: RocksStore, end: int) -> None:
        place = self._changelog
        while await reader.position(place) < end:
            for records in (await reader.getmany(place, timeout_ms=500)).values():
                for record in records:
                    fault_at("mid-restore")
                    changes = changelog.decode(record.value)
                    if changelog.is_void(changes):
                        store.wipe()
                        changes = {}
                    store.restore(changes, record.offset + 1)
                    self.restored_records += 1

    def _take(self, topic: str, records: Sequence[Any]) -> None:
        assert self._contained is not None
        if topic in INPUT_OF:
            rekeyed_origins.take(INPUT_OF[topic], records, self._origins)
        self._contained.process(INPUT_OF.get(topic, topic), records)

    @property
    def opened(self) -> bool:
        return self._contained is not None

    @property
    def stage(self) -> Stage | None:
        """The stage; None until it is restored."""
        return None if self._contained is None else self._contained.stage

    @property
    def unfinished(self) -> bool:
        return self._contained is not None and self._contained.unfinished

    async def _commit(self, events: int, moved: bool) -> float | None:
        assert self._contained is not None
        assert self.store is not None
        behind = self.behind()
        outputs = self._contained.checkpoint(time.time(), idle=self.quiet(time.monotonic() - self.last_record), behind=behind)
        if not (outputs or moved or self.store.changed):
            return None
        began, offsets = time.monotonic(), self._reached()
        if self._rekeyed:
            outputs = [given_back(output) if output.topic == DEAD_LETTERS else output for output in outputs]
        outputs = [*outputs, *self._taken_letters()]
        state_format.mark(self.store)
        own = {InputPartition(topic, self.partition): offset for topic, offset in self.offsets.items()}
        stored_offsets.put(self.store, self.partition, own | self._origins)
        self.store.put(changelog.SWEEP, self._sweep.progress)
        changes = self.store.freeze()
        swept, complete = self._sweep.slice(weight(changes))
        # The pairs of the slice are already in the local store; only expired ones change there.
        changes.update({key: None for key, value in swept.items() if value is None})
        with tracer.start_as_current_span("checkpoint", attributes=self._attributes) as span:
            span.set_attribute("tidegauge.events", events)
            span.set_attribute("tidegauge.outputs", len(outputs))
            await self._transact({**swept, **changes}, outputs, offsets, complete)
        seconds = time.monotonic() - began
        await self._purge(offsets)
        return seconds

    async def _purge(self, committed: Offsets) -> None:
        """Delete from time to time what lies below the ``committed`` offsets of inputs that nobody else needs: re-keyed records
        have no retention limit, and profiles of a day would take as much room as the events."""
        at, before = self._purged
        if time.monotonic() - at < PURGE_SECONDS:
            return
        left = {self._place(topic): PURGED[topic] for topic in self.topics if topic in PURGED}
        done = {place: committed[place].offset - kept for place, kept in left.items() if place in committed}
        self._purged = time.monotonic(), done
        due = {place: RecordsToDelete(offset) for place, offset in done.items() if offset > before.get(place, 0)}
        if due:
            try:
                await self._admin.delete_records(due)
                self._may_purge = True
            except KafkaError as error:
                if self._may_purge:
                    log.warning(
                        "%s: what was processed of %s is not deleted (%r); this user needs the right to delete there",
                        self, ", ".join(sorted({place.topic for place in due})), error,
                    )  # fmt: skip
                self._may_purge = False

    async def _transact(self, changes: Changes, outputs: list[Output], offsets: Offsets, complete: bool) -> None:
        """Commit state ``changes``, outputs and offsets; then apply the changes to the local store. ``complete``: as in
        ``changelog.Slice``."""
        assert self.store is not None
        producer, place = self._producer, self._changelog
        fault_at("before-transaction")
        async with producer.transaction():
            state = [await self._queue(place.topic, value=of, partition=place.partition) for of in changelog.encode(changes)]
            sent = state + [await self._queue_output(output) for output in outputs]
            fault_at("mid-transaction")
            done = await acknowledged(sent)
            if state and done[0].offset < (self.store.position or 0):
                raise StateError(
                    f"the changelog of {self} ({place.topic}, partition {place.partition}) ends before what was "
                    "written to it: it was deleted and made anew; stop all workers and run tidegauge state rebuild, which "
                    "makes the state anew from the topics"
                )
            if offsets:
                await producer.send_offsets_to_transaction(offsets, self._settings.app_id)
            fault_at("before-commit")
        fault_at("after-commit")
        if state:
            self.store.commit(done[len(state) - 1].offset + 1)
            fault_at("after-local-write")
            await self._sweep.committed(done[0].offset, complete, self._admin, self._changelog)
