"""The Faust application of one worker process: agents that pass chunks of records to tasks, and the timing of checkpoints."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from faust.types.tuples import TP

from tidegauge.engine.stage import PROFILES
from tidegauge.errors import StreamError, TopicError
from tidegauge.stream.catching_up import CatchingUp, event_time
from tidegauge.stream.checkpoint_schedule import is_due, is_full, load
from tidegauge.stream.consumer import Chunk
from tidegauge.stream.faults import is_lost
from tidegauge.stream.faust_application import faust_application
from tidegauge.stream.input_task import InputTask
from tidegauge.stream.missing_records import MissingRecords
from tidegauge.stream.reading_progress import StageInput, StalledPartitions
from tidegauge.stream.rekey_task import RekeyTask
from tidegauge.stream.schema_registry import SchemaRegistry
from tidegauge.stream.settings import REKEY, REKEYED, Settings
from tidegauge.stream.shared_reader import SharedReader
from tidegauge.stream.task import StageFactory, Task
from tidegauge.stream.unread_input import UnreadInput

log = logging.getLogger(__name__)
TICK, LOOK_SECONDS = 0.05, 1.0
"""Seconds between two looks at which tasks are due, and between two for records that were lost on the way."""
OPENING_AT_ONCE, RESTORING_AT_ONCE = 64, 8
"""The most tasks that are taken over at the same time, which is mostly waiting for the broker; and the most of these that read
their changelog, each of which has fetched records in memory."""
FLUSH_SECONDS, DROP_SECONDS, LEAVE_SECONDS = 4.0, 4.0, 4.0
"""The most seconds that the steps of shutting down may take."""


class StreamApp:
    """Runs the tasks of the partitions that Faust assigns to this process.

    ``failed`` is set to the error that makes the worker stop, which is any error raised by a task. A task that was fenced off
    or whose transaction failed cannot continue; the process ends, and its successor restores what was committed.
    """

    def __init__(
        self,
        settings: Settings,
        factories: Mapping[str, StageFactory],
        admin: AIOKafkaAdminClient,
        standstills: StalledPartitions,
        join_partitions: int,
    ) -> None:
        self.settings, self._join_partitions = settings, join_partitions
        self.tasks: dict[tuple[str, int], InputTask] = {}
        self.failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self.schema_registry: SchemaRegistry | None = None
        self.rebalances = 0
        self.on_checkpoint: Callable[[str, float], None] = lambda stage, seconds: None
        self.on_chunk: Callable[[str, int, Sequence[Any]], None] = lambda topic, partition, records: None
        self._factories, self._admin = factories, admin
        self._opening: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._closing: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._ticker: asyncio.Task[None] | None = None
        self._opening_slots, self._restoring_slots = (asyncio.Semaphore(of) for of in (OPENING_AT_ONCE, RESTORING_AT_ONCE))
        self._reader = SharedReader(settings)
        self._checkpoints: set[asyncio.Task[None]] = set()
        self._taking: set[str] = set()
        self._looked = 0.0
        self._stopping = False
        self._assigned = False
        self._catching_up = CatchingUp()
        self._logical = {settings.topic(t): t for topics in settings.inputs.values() for t in topics}
        self._stage_of = {topic: stage for stage, topics in settings.inputs.items() for topic in topics}
        self.faust = self._faust()
        self.unread = UnreadInput(settings, standstills, lambda: self.faust.consumer)
        self.missing = MissingRecords(settings, lambda: self.faust.consumer)

    def _faust(self) -> Any:
        settings = self.settings
        app = faust_application(settings)
        for stage, topics in settings.inputs.items():
            source = app.topic(*(settings.topic(t) for t in topics), key_type=bytes, value_type=bytes)
            app.agent(source, name=stage)(self._agent)
        app.on_partitions_assigned.connect(self._on_assigned, weak=False)
        app.on_partitions_revoked.connect(self._on_revoked, weak=False)
        return app

    async def start(self) -> None:
        for topics in (REKEYED.keys(), REKEYED.values()):
            names = [self.settings.topic(topic) for topic in topics]
            self.faust.consumer.in_step.beside.update({name: [other for other in names if other != name] for name in names})
        await self.faust.start()
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> bool:
        """Make a checkpoint, close the tasks and leave the group; return whether all of this was done. Steps that take too long
        are abandoned: a successor restores what was committed, and the group notices that this process is gone."""
        self._stopping = True
        if self._ticker is not None:
            self._ticker.cancel()
        in_order = self.failed.done() or await self._flush(FLUSH_SECONDS)
        in_order &= await _within(DROP_SECONDS, self._drop(list(self.tasks)), "letting tasks go")
        return in_order & await _within(LEAVE_SECONDS, self.faust.stop(), "leaving the group")

    @property
    def ready(self) -> bool:
        """Whether the state of all assigned partitions is restored."""
        return self._assigned and not self._stopping and not self._opening

    def marks(self) -> dict[str, Hashable]:
        """For the watchdog: for each component that has work to do, a value that changes with every step of its progress."""
        if not self._assigned:
            return {"joining the group": self.rebalances}
        found: dict[str, Hashable] = {}
        if self._opening:
            # Some tasks wait while others restore.
            restored = sum(task.restored_records for task in self.tasks.values())
            found["taking tasks over"] = (self.rebalances, len(self._opening), restored)
        lag = self.lag()
        for name, task in self.tasks.items():
            if name in self._opening:
                continue
            if task.unfinished or task.dirty_events or task.busy:
                found[f"task {task}"] = (id(task), task.checkpoints)
            for topic in task.topics:
                # Such a task may still commit reports of its own.
                if not task.unfinished and lag.get(StageInput(task.name, topic, task.partition)):
                    asked = 0 if self.schema_registry is None else self.schema_registry.attempts
                    found[f"task {task}, reading {topic},"] = (id(task), task.position(topic), asked)
        for place in self.faust.consumer.assignment():
            logical = self._logical.get(place.topic)
            if logical is not None and (self._stage_of[logical], place.partition) not in self.tasks:
                found[f"{place.topic} {place.partition}, which no task owns,"] = self.rebalances
        if not self.faust.consumer.alive:
            found["the consumer's thread, which is gone,"] = None
        return found

    # -- partitions ----------------------------------------------------------------------------------------------

    async def _on_assigned(self, app: Any, assigned: Any, **rest: Any) -> None:
        self._assigned = True
        wanted = {(self._stage_of[self._logical[tp.topic]], tp.partition) for tp in assigned if tp.topic in self._logical}
        await self._drop([name for name in self.tasks if name not in wanted])
        if any(stage == "join" and partition >= self._join_partitions for stage, partition in wanted):
            # A start decides what is to be done about it, as for any topics that it finds.
            added = TopicError(f"partitions were added to an input, whose state has {self._join_partitions}")
            self._fail("taking partitions over", added)
            return
        for name in sorted(wanted - self.tasks.keys()):
            stage, partition = name
            task = self.tasks[name] = self._task(stage, partition)
            task.on_checkpoint = self.on_checkpoint
            # Restoring may take longer than a rebalance is allowed to, so it runs concurrently while chunks wait.
            self._opening[name] = asyncio.create_task(self._open(name, task))

    def _task(self, stage: str, partition: int) -> InputTask:
        if stage in REKEY:
            return RekeyTask(stage, partition, self.settings, self._admin, self._join_partitions)
        task = Task(stage, partition, self._factories[stage], self.settings, self._admin)
        task.restoring, task.reader = self._restoring_slots, self._reader
        if stage == "join":
            self.unread.follow(partition)
            task.behind = partial(self.unread.behind, task)
            task.quiet = partial(self.unread.is_quiet, task)
        else:
            task.quiet = partial(self.unread.all_is_quiet, task)
        return task

    async def _open(self, name: tuple[str, int], task: InputTask) -> None:
        try:
            # A previous task of this partition uses the store's directory until it is closed.
            await asyncio.gather(*(closing for closing in (self._closing.get(name),) if closing is not None))
            async with self._opening_slots:
                await task.open()
                if task.name == "join":
                    # Tells the stage the progress of its inputs before its first records.
                    await task.checkpoint()
        except asyncio.CancelledError as cut_off:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            # Nobody has cancelled this task, so it cannot count as being taken over any longer.
            failure = StreamError("taking it over was cut off inside the Kafka client")
            failure.__cause__ = cut_off
            self._fail(task, failure)
        except BaseException as error:
            self._fail(task, error)
        else:
            self._opening.pop(name, None)

    async def _on_revoked(self, app: Any, revoked: Any, **rest: Any) -> None:
        self.rebalances += 1
        if not self._stopping:
            # The next owner would process uncommitted records again; committing them now only saves that work.
            await self._flush(FLUSH_SECONDS)
        await self._drop(list(self.tasks))

    async def _flush(self, seconds: float) -> bool:
        """Make checkpoints of all tasks; return whether all were made in time."""
        ready = [task for name, task in self.tasks.items() if name not in self._opening]
        return await _within(seconds, asyncio.gather(*(task.checkpoint() for task in ready)), "a last checkpoint")

    async def _drop(self, names: list[tuple[str, int]]) -> None:
        """Close tasks. If a rebalance and the shutdown close the same task at the same time, both return once it is closed."""
        for name in names:
            task = self.tasks.pop(name, None)
            if task is not None:
                self._closing[name] = asyncio.create_task(self._close(name, task))
        await asyncio.gather(*(self._closing[name] for name in names if name in self._closing))

    async def _close(self, name: tuple[str, int], task: InputTask) -> None:
        opening = self._opening.pop(name, None)
        try:
            if opening is not None:
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
            await task.close()
        finally:
            del self._closing[name]

    # -- records and checkpoints ---------------------------------------------------------------------------------

    async def _agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            if message.generation_id != self.faust.consumer_generation_id or is_lost("chunk"):
                continue
            logical = self._logical[message.topic]
            name = (self._stage_of[logical], message.partition)
            task = self.tasks.get(name)
            if task is None:
                continue
            self._taking.add(task.name)
            try:
                if (opening := self._opening.get(name)) is not None:
                    await asyncio.wait([opening])
                began = time.monotonic()
                await self._take(logical, task, message.value)
                if self._opening:
                    # A restore takes many turns of the event loop, and a backlog leaves it few: each stage's agent pauses so
                    # long that the tasks being taken over get as much of the time as a stage.
                    await asyncio.sleep(len(self.settings.inputs) * (time.monotonic() - began))
            except Exception as error:
                self._fail(task, error)
                return
            finally:
                self._taking.discard(task.name)

    async def _take(self, logical: str, task: InputTask, chunk: Chunk) -> None:
        """Let a task process a chunk of the ``logical`` topic, if it still runs."""
        records: Sequence[Any] = chunk
        if self.schema_registry is not None and logical != PROFILES:
            records = await self.schema_registry.decoded(chunk)
        begin = await self.missing.begin(task, logical, chunk) if self._runs(task) else 0
        if not self._runs(task) or await self.missing.fetched_again(task, logical, chunk, begin):
            return
        self.missing.report_gone(task, logical, chunk, begin)
        task.process(logical, records, chunk.end)
        self.on_chunk(logical, task.partition, records)
        if is_full(task, self.settings.checkpoint_events):
            # More records would accumulate faster than they can be committed, so wait for the transaction.
            await task.checkpoint()

    def _runs(self, task: InputTask) -> bool:
        return self.tasks.get((task.name, task.partition)) is task and task.opened

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self.faust.crashed and not self._stopping:
                self._fail("Faust", self.faust.crash_reason or RuntimeError("no reason given"))
                return
            now = time.monotonic()
            if self._catching_up.is_due(now):
                self._tell_progress(now)
            if now - self._looked >= LOOK_SECONDS:
                self._looked = now
                for name, task in self.tasks.items():
                    if name not in self._opening and task.name not in self._taking:
                        self._spawn(self.missing.look(task, now))
            beside = load(self.tasks.values())
            for name, task in list(self.tasks.items()):
                if name not in self._opening and not task.busy and is_due(task, now, beside, self.settings.checkpoint_interval):
                    self._spawn(self._checkpoint(task))

    def _tell_progress(self, now: float) -> None:
        stages = [task.stage for task in self.tasks.values() if isinstance(task, Task)]
        unfinished = any(task.unfinished for task in self.tasks.values())
        said = self._catching_up.sentence(now, sum(self.lag().values()), event_time(stages), unfinished)
        if said is not None:
            log.info(said)

    async def _checkpoint(self, task: InputTask) -> None:
        try:
            await task.checkpoint()
        except Exception as error:
            if task in self.tasks.values():
                self._fail(task, error)

    def _spawn(self, work: Awaitable[None]) -> None:
        job = asyncio.ensure_future(work)
        self._checkpoints.add(job)
        job.add_done_callback(self._checkpoints.discard)

    def _fail(self, who: object, error: BaseException) -> None:
        if not self.failed.done():
            log.error("%s failed, the worker stops", who, exc_info=error)
            self.failed.set_result(error)

    def lag(self) -> dict[StageInput, int]:
        """The number of records not yet processed, by stage and partition of its inputs."""
        out = {}
        consumer = self.faust.consumer
        for (stage, partition), task in self.tasks.items():
            for topic in task.offsets:
                behind = consumer.lag(TP(self.settings.topic(topic), partition), task.position(topic))
                # Records that were read but wait in the stage for the next checkpoint are not processed yet either.
                out[StageInput(stage, topic, partition)] = max(behind, int(task.unfinished))
        return out


async def _within(seconds: float, work: Awaitable[object], what: str) -> bool:
    """Whether ``work`` was done within ``seconds``. Does not wait for work that ignores its cancellation."""
    job = asyncio.ensure_future(work)
    await asyncio.wait([job], timeout=seconds)
    if not job.done():
        job.cancel()
        # Nobody waits for it any more, so that what it ends with is looked at here.
        job.add_done_callback(lambda given_up: given_up.cancelled() or given_up.exception())
        log.warning("%s took longer than %.0f s and is given up", what, seconds)
        return False
    error = job.exception() if not job.cancelled() else asyncio.CancelledError()
    if error is not None:
        log.warning("%s failed: %r", what, error)
    return error is None
