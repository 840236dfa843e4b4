"""One simulation: workers with the real code of the stream and both stages, faults drawn from a seed, and the result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotLeaderForPartitionError,
    ProducerFenced,
    RequestTimedOutError,
    UnknownError,
)

from simulation import simulated_disk, workload
from simulation.consumer_group import GroupModel
from simulation.kafka_clients import Clients
from simulation.kafka_model import KafkaModel
from simulation.kafka_readers import Admin, AssignedConsumer
from simulation.seeded_loop import Process, SeededLoop, Stuck, VirtualTime, current_process
from simulation.simulated_faust import FaustModel
from simulation.simulated_network import DULL, REQUEST_TIMEOUT, Fate, Network
from simulation.workload import INPUT_PARTITIONS, PARTITIONS, Result
from tidegauge.engine.containment import ContainedStage
from tidegauge.engine.stage import Counters, Record
from tidegauge.join.stage import JoinStage
from tidegauge.monitor import stage as monitor_stage
from tidegauge.monitor.stage import MonitorStage
from tidegauge.stream import app, changelog, group, input_task, rekey_task, shared_reader, store, task, transport, unread_input
from tidegauge.stream.ending import Ending
from tidegauge.stream.reading_progress import StalledPartitions
from tidegauge.stream.settings import REKEY, Settings
from tidegauge.stream.watchdog import LOOK_SECONDS, Watchdog

WORKERS = 2
WORKLOADS = 64
"""How many different streams there are; seeds share them, and what `replay` makes of them."""
REKEYED_EVERY = 5
"""Inputs are re-keyed in one of so many seeds, the last of them."""
SLOW_EVERY = 7
"""In one of so many seeds a monitor task does so little work at a checkpoint, SLOW_WORK, that it always leaves some."""
SLOW_WORK = 2
STOP_SECONDS = 20.0
"""After so many seconds of virtual time a worker that stops is ended."""
SESSION, REBALANCE, PATIENCE = 3.0, 10.0, 18.0
MAX_STEPS, MAX_SECONDS = 40_000, 240.0
TRAFFIC_SECONDS = 5.0
"""Virtual time in which the events are sent."""
SETTLED_SECONDS, REKEYED_SETTLED_SECONDS = 1.0, 3.0
"""Virtual time for which nothing may be left to process at the end. If inputs are re-keyed, event time comes after the events,
with measurements of the group."""
FAULTS = (
    "kill", "kill, disk lost", "kill, request late", "pause", "pause beyond the session",
    "pause beyond the session, request late", "rebalance", "loss", "late", "chunk lost", "read again", "another broker",
    "error", "stop",
)  # fmt: skip
"""What happens to a process, and to the request or answer under way."""
ERRORS = KafkaTimeoutError, KafkaConnectionError, NodeNotReadyError, UnknownError
"""Errors with which a client gives up."""
NEVER_GIVEN_UP = {"fetch", "heartbeat", "join", "leave", "committed"}
"""Requests that Faust's consumer makes until they succeed."""
REPEATABLE = ("produce", "delete", "join")
"""How the names of requests begin that brokers may get twice. Before version 2 of its protocol of transactions, Kafka is not
made for a late copy of the others, as of the end of a transaction, which may end the next one."""
TAKING_OVER = ("init producer", "topics", "beginning offsets", "fetch ", "committed ")
"""How the names of requests begin by which a task is taken over."""


class Outcome(NamedTuple):
    """What came of a seed. ``differences``: from `replay`, in words; ``faults``: how many of each kind happened; ``schedule``:
    what happened, in order."""

    seed: int
    differences: list[str]
    faults: Counter[str]
    steps: int
    schedule: list[str]

    def __str__(self) -> str:
        first = f"seed {self.seed}: {len(self.differences)} differences after {self.steps} steps"
        return "\n".join([first, *self.schedule, *self.differences, f"again: make simulate SEED={self.seed}"])


class Simulation:
    """Two workers, two partitions; ``seed`` decides everything. ``most``: the most faults; 0 for an undisturbed run."""

    def __init__(self, seed: int, most: int = 6) -> None:
        self.seed, self._draws = seed, random.Random(seed)
        self._rekeyed = seed % REKEYED_EVERY == REKEYED_EVERY - 1
        self._slow = seed % SLOW_EVERY == SLOW_EVERY - 1
        self._loop = SeededLoop(self._draws, MAX_STEPS, MAX_SECONDS)
        self._network = Network(self._loop, self._draws)
        self._settings = Settings(
            app_id="sim", idle_timeout=1e9, checkpoint_interval=1.0, session_timeout=SESSION, rekeyed=self._rekeyed
        )
        self._kafka = KafkaModel(self._sizes(), self._network.later, self._network.at)
        self._clients = Clients(self._network, self._kafka)
        self._group = GroupModel(self._together(), self._draws, self._network.at, SESSION, REBALANCE)
        self._disks = [simulated_disk.Disk() for _ in range(WORKERS)]
        self._processes: list[Process | None] = [None] * WORKERS
        self._workers: dict[Process | None, app.StreamApp] = {}
        self._started = 0
        self._faults: Counter[str] = Counter()
        self._wrong: list[str] = []
        self._told_to_stop: dict[Process, asyncio.Future[None]] = {}
        self._given_up: set[Process] = set()
        """Processes a client of which gave up."""
        self._left = self._draws.randint(1, most) if most else 0
        self._calm = False
        self._network.disturb, self._network.hesitant = self._disturb, most > 0

    def _sizes(self) -> dict[str, int]:
        """The number of partitions of every topic, by its name."""
        settings = self._settings
        sizes = dict.fromkeys(map(settings.topic, settings.all_topics), 1)
        for stage, topics in settings.inputs.items():
            for topic in topics:
                sizes[settings.topic(topic)] = INPUT_PARTITIONS[topic] if stage in REKEY else PARTITIONS
        return sizes | dict.fromkeys(map(settings.topic, task.CHANGELOGS.values()), PARTITIONS)

    def _together(self) -> dict[str, list[list[TopicPartition]]]:
        settings, sizes = self._settings, self._sizes()
        return {
            stage: [
                [TopicPartition(settings.topic(topic), number) for topic in topics]
                for number in range(sizes[settings.topic(topics[0])])
            ]
            for stage, topics in settings.inputs.items()
        }

    def run(self) -> Outcome:
        expected = workload.replayed(self.seed % WORKLOADS)
        try:
            with self._replaced():
                try:
                    found = self._loop.run_world(self._run())
                    said = workload.differences(found, expected)
                except Stuck as error:
                    said = [f"{error}: {self._progress()}"]
                finally:
                    self._loop.finish()
                said += self._wrong
        finally:
            asyncio.set_event_loop(None)
        return Outcome(self.seed, said, self._faults, self._loop.steps, self._loop.events)

    @contextlib.contextmanager
    def _replaced(self) -> Iterator[None]:
        """Replace what the stream gets from outside by the models, and constants by ones that suit so little data."""
        silenced = logging.root.manager.disable
        logging.disable()
        with contextlib.ExitStack() as replaced:
            replaced.callback(logging.disable, silenced)
            for module in (app, group, input_task, rekey_task, task, transport, unread_input):
                replaced.enter_context(mock.patch.object(module, "time", VirtualTime))
            for module, name, value in (
                (app, "faust_application", self._faust),
                (input_task, "AIOKafkaProducer", self._clients.producer),
                (task, "consumer", self._consumer),
                (shared_reader, "consumer", self._consumer),
                (group, "consumer", self._consumer),
                # The model's consumer fetches nothing ahead.
                (group, "discard_fetched", lambda client: None),
                (group, "AIOKafkaAdminClient", lambda **settings: Admin(self._clients)),
                (store, "Rdict", lambda path, options: simulated_disk.Database(self._disk().files[path])),
                (store, "WriteBatch", simulated_disk.WriteBatch),
                (store, "shutil", simulated_disk.Removal),
                (app, "TICK", 0.25),
                (changelog, "SLICE_BYTES", (400, 800)),
                (changelog, "MIN_DELETED", 2),
                (task, "PURGE_SECONDS", 1.0),
                (task, "PURGED", dict.fromkeys(task.PURGED, 0)),
                (group, "REKEYED_LOOK_SECONDS", 0.8),
                (monitor_stage, "MAX_WORK", SLOW_WORK if self._slow else monitor_stage.MAX_WORK),
            ):
                replaced.enter_context(mock.patch.object(module, name, value))
            yield

    # -- workers -------------------------------------------------------------------------------------------------

    def _disk(self) -> simulated_disk.Disk:
        return self._disks[self._processes.index(current_process.get())]

    def _faust(self, settings: Settings) -> Any:
        return FaustModel(self._clients, self._group, settings.app_id, str(current_process.get()), self._draws)

    def _consumer(self, settings: Settings, **arguments: Any) -> AssignedConsumer:
        committed_only = arguments.get("isolation_level") != "read_uncommitted"
        return AssignedConsumer(self._clients, arguments.get("group_id", ""), committed_only)

    def _start(self, index: int) -> None:
        self._started += 1
        name = f"worker {index}.{self._started}"
        self._loop.note(f"{name} starts")
        self._processes[index] = self._loop.start_process(name, lambda: self._reported(index))

    async def _reported(self, index: int) -> None:
        """Run a worker's process; whatever it raises is a difference."""
        try:
            await self._worker(index)
        except Exception as error:
            self._wrong.append(f"{current_process.get()} raised {error!r}")

    async def _worker(self, index: int) -> None:
        registry, counters, standstills = workload.registry(), Counters(), StalledPartitions()
        worker = app.StreamApp(
            msgspec.structs.replace(self._settings, state_dir=self._disks[index]),
            {
                "join": lambda partition, kept: ContainedStage(
                    lambda of, counted: JoinStage(partition, of, registry, PARTITIONS, counted), kept, partition, counters
                ),
                "monitor": lambda partition, kept: ContainedStage(
                    lambda of, counted: MonitorStage(of, registry, PARTITIONS, counted), kept, partition, counters
                ),
            },
            Admin(self._clients),
            standstills,
            PARTITIONS,
        )
        process = current_process.get()
        self._workers[process] = worker
        if self._rekeyed:
            self._loop.create_task(group.watch_group(self._settings, standstills, worker.unread.looked))
        await worker.start()
        watching = asyncio.create_task(self._watch(index, process, Watchdog(worker.marks, PATIENCE, Ending())))
        told = self._told_to_stop[process] = asyncio.get_running_loop().create_future()
        await asyncio.wait([worker.failed, told], return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        if worker.failed.done():
            self._note_failure(process, worker.failed.result())
        self._loop.call_in_world(STOP_SECONDS, self._end, index, process)
        await worker.stop()
        self._end(index, process)

    def _note_failure(self, process: Process, error: BaseException) -> None:
        self._loop.note(f"{process} fails: {error!r}")
        self._faults[f"ended by {type(error).__name__}"] += 1
        if not isinstance(error, KafkaError if process in self._given_up else ProducerFenced):
            self._wrong.append(f"{process} ended by {error!r}")

    async def _watch(self, index: int, process: Process, watchdog: Watchdog) -> None:
        """What the watchdog's thread does."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            watchdog._turned()
            found = watchdog._standing(PATIENCE)
            if found is not None:
                self._loop.note(f"{process} is ended by its watchdog: {found}")
                self._faults["ended by its watchdog"] += 1
                self._disks[index].crash(self._draws)
                self._end(index, process)

    def _end(self, index: int, process: Process) -> None:
        """End a process if it still runs, and start its successor after a while."""
        if not process.dead:
            self._loop.note(f"{process} ends")
            self._loop.kill(process)
            self._loop.call_in_world(0.1 + 2 * self._draws.random(), self._start, index)

    # -- faults --------------------------------------------------------------------------------------------------

    def _disturb(self, process: Process, leg: str) -> Fate:
        """What becomes of a request or answer: mostly it takes its time; sometimes a fault happens now."""
        delay = self._network.delay()
        if self._calm or not self._left or process not in self._processes or process.dead:
            return Fate(delay)
        what = leg.removeprefix("answer to ")
        if self._draws.random() > _likelihood(what):
            return Fate(delay)
        self._left -= 1
        fault = self._draws.choice(FAULTS)
        if leg.startswith(REPEATABLE) and self._draws.random() < 0.3:
            fault = "twice"
        elif fault == "error" and what in NEVER_GIVEN_UP:
            fault = "another broker"
        self._faults[fault] += 1
        self._loop.note(f"FAULT {fault} of {process} at {leg}")
        if fault in ("rebalance", "chunk lost", "read again", "stop") or fault.startswith(("kill", "pause")):
            self._happen(fault, process)
        late = 2 * SESSION * self._draws.random()
        if fault == "loss":
            return Fate(REQUEST_TIMEOUT, RequestTimedOutError())
        if fault == "another broker":
            return Fate(delay, NotLeaderForPartitionError())
        if fault == "error":
            self._given_up.add(process)
            return Fate(delay, self._draws.choice(ERRORS)())
        if fault == "twice":
            return Fate(delay, copy=late)
        return Fate(delay + late if fault.endswith("late") else delay)

    def _happen(self, fault: str, process: Process) -> None:
        """Let a fault happen to a process."""
        index = self._processes.index(process)
        if fault.startswith("kill"):
            self._disks[index].crash(self._draws)
            if fault == "kill, disk lost":
                self._disks[index].lose()
            self._end(index, process)
        elif fault.startswith("pause"):
            process.paused = True
            seconds = SESSION * self._draws.random() * (0.5 if fault == "pause" else 4)
            self._loop.call_in_world(seconds, self._continue, process)
        elif fault == "rebalance":
            self._group.rebalance()
        elif fault == "chunk lost":
            self._network.losing.add(process)
        elif fault == "stop":
            if process in self._told_to_stop and not self._told_to_stop[process].done():
                self._told_to_stop[process].set_result(None)
        else:
            self._network.rereading.add(process)

    def _continue(self, process: Process) -> None:
        self._loop.note(f"{process} goes on")
        process.paused = False

    # -- the world -----------------------------------------------------------------------------------------------

    async def _run(self) -> Result:
        for index in range(WORKERS):
            self._start(index)
        events = workload.events(self.seed % WORKLOADS)
        for event in events:
            await asyncio.sleep(TRAFFIC_SECONDS / len(events) * 2 * self._draws.random())
            partition = self._draws.randrange(INPUT_PARTITIONS[event.topic]) if self._rekeyed else event.partition
            place = TopicPartition(self._settings.topic(event.topic), partition)
            self._kafka.logs[place].append(Record(-1, int(VirtualTime.time() * 1000), None, event.value))
        await asyncio.sleep(TRAFFIC_SECONDS * self._draws.random())
        self._calm = True
        self._network.hesitant = False
        quiet, settled = 0.0, REKEYED_SETTLED_SECONDS if self._rekeyed else SETTLED_SECONDS
        while quiet < settled:
            await asyncio.sleep(SETTLED_SECONDS / 2)
            undisturbed = not any(process is None or process.dead or process.paused for process in self._processes)
            quiet = quiet + SETTLED_SECONDS / 2 if undisturbed and self._kafka.settled and self._all_processed() else 0.0
        return self._result()

    def _unprocessed(self) -> dict[TopicPartition, int]:
        """Records of inputs that no transaction has said to be processed."""
        committed = self._kafka.committed.get(self._settings.app_id, {})
        found = {}
        for stage in self._together().values():
            for place in (place for together in stage for place in together):
                offset = committed[place].offset if place in committed else 0
                log = self._kafka.logs[place]
                if log.stable < log.end or log.read(max(offset, log.begin), 1).records:
                    found[place] = offset
        return found

    def _all_processed(self) -> bool:
        """Whether all records are processed and every task is at work and has left nothing undone."""
        workers = [self._workers[process] for process in self._processes if process in self._workers]
        tasks = [task for worker in workers for task in worker.tasks.values() if task.opened]
        everything = sum(map(len, self._together().values()))
        return not self._unprocessed() and len(tasks) == everything and not any(task.unfinished for task in tasks)

    def _progress(self) -> str:
        return f"unprocessed {self._unprocessed()}"

    def _result(self) -> Result:
        outputs = []
        for topic in ("metrics", "alerts"):
            for record in self._kafka.logs[TopicPartition(topic, 0)].read(0, 10**6).records:
                outputs.append((topic, record.key, record.value))
        return workload.result(outputs)


def _likelihood(what: str) -> float:
    """How likely a fault is at a request or its answer: at those that change nothing and are made all the time it is the least,
    at those by which a task is taken over the most, since these are few."""
    if what in DULL:
        return 0.003
    return 0.04 if what.startswith(TAKING_OVER) else 0.012


def simulate(seed: int, most: int = 6) -> Outcome:
    """Run one simulation."""
    return Simulation(seed, most).run()
