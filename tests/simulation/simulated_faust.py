"""What tidegauge's ``StreamApp`` asks of a Faust application, on the models of broker and group.

``ChunkConsumer`` takes its delivery of chunks and its knowledge of lag from the real transport.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import RebalanceInProgressError, UnknownMemberIdError
from faust.types.tuples import TP

from simulation.consumer_group import GroupModel, Membership
from simulation.kafka_clients import Clients
from simulation.kafka_model import Batch
from simulation.seeded_loop import current_process
from tidegauge.stream import transport
from tidegauge.stream.consumer import Chunk, EmptyOffsets
from tidegauge.stream.in_step import StepwiseReading

POLL_SECONDS = 0.7
HEARTBEATS = 3
"""How often in a session a member is heard."""
BUFFERED_CHUNKS = 4
REREAD_OFFSETS = 4


class PlaceState:
    """What a client knows of a partition it reads."""

    has_valid_position = True

    def __init__(self, position: int) -> None:
        self.position = position
        self.highwater: int | None = None
        self.lso: int | None = None
        self.timestamp: float | None = None
        self.empty_offsets: EmptyOffsets | None = None

    def chunk(self, batch: Batch) -> Chunk:
        """The records of an answer, after which the position moves on; empty if there were none."""
        records, before = Chunk(batch.records), self.empty_offsets
        records.begin = before.begin if before is not None and before.end == batch.begin else batch.begin
        records.end = self.position = batch.position
        self.empty_offsets = EmptyOffsets(records.end if records else records.begin, records.end)
        return records


class ChunkConsumer:
    """Reads the partitions of one member, in chunks of a drawn length."""

    getmany = transport._Consumer.getmany
    behind = transport._Consumer.behind
    last_handed_over = transport._Consumer.last_handed_over
    lag, fetched = transport._Consumer.lag, transport._Consumer.fetched
    reached = transport._Consumer.reached
    _more = transport._Consumer._more
    alive, should_stop = True, False

    def __init__(self, app: FaustModel, draws: random.Random) -> None:
        self.app, self._draws = app, draws
        self.handed_over: dict[TP, transport.DeliveryProgress] = {}
        self.in_step = StepwiseReading()
        self.flow_active = False
        self._states: dict[TP, PlaceState] = {}
        self._buffered_partitions: set[TP] = set()

    def assignment(self) -> set[TP]:
        return set(self._states)

    def assign(self, positions: dict[TP, int]) -> None:
        self._states = {place: PlaceState(position) for place, position in positions.items()}
        self.handed_over = {}

    def _state(self, place: TP) -> PlaceState | None:
        return self._states.get(place)

    async def seek(self, place: TP, offset: int) -> None:
        if (state := self._states.get(place)) is not None:
            state.position = offset

    async def perform_seek(self) -> None:
        await asyncio.sleep(POLL_SECONDS)

    async def earliest_offsets(self, place: TP) -> dict[TP, int]:
        log = self.app.clients.kafka.logs[TopicPartition(*place)]
        return {place: await self.app.clients.network.ask("earliest offset", lambda: log.begin)}

    async def _wait_next_records(self, timeout: float) -> tuple[dict[TP, list[Any]] | None, None]:
        """Records of one partition, which is drawn among those that have some."""
        states = self._states
        if self.flow_active and states:
            now, most = transport.time.monotonic(), self._draws.randint(1, 8)
            places = [place for place in sorted(states) if not self.in_step.ahead(place, now, self._more)]
            self._draws.shuffle(places)
            self._go_back_if_told()
            logs, positions = self.app.clients.kafka.logs, {place: states[place].position for place in places}

            def fetch() -> dict[TP, Batch]:
                found = {}
                for place, position in positions.items():
                    log = logs[TopicPartition(*place)]
                    found[place] = log.read(max(position, log.begin), most)
                return found

            batches: dict[TP, Batch] = await self.app.clients.network.ask("fetch", fetch)
            for place, batch in batches.items():
                if self._states is not states:
                    break
                state = states[place]
                state.highwater, state.lso, state.timestamp = batch.end, batch.stable, transport.time.monotonic() * 1000
                if not batch.records:
                    state.chunk(batch)
            for place, batch in batches.items():
                if self._states is states and batch.records:
                    said = (
                        f"{self.app} gets {place.topic} {place.partition}: {batch.records[0].offset}-{batch.records[-1].offset}"
                    )
                    self.app.clients.network.loop.note(said)
                    return {place: states[place].chunk(batch)}, None
        await asyncio.sleep(POLL_SECONDS * self._draws.random())
        return {}, None

    def _go_back_if_told(self) -> None:
        process, network = current_process.get(), self.app.clients.network
        if process in network.rereading:
            network.rereading.remove(process)
            for state in self._states.values():
                state.position = max(state.position - REREAD_OFFSETS, 0)
                state.empty_offsets = None


class Signal:
    """A Faust signal with at most one receiver."""

    def __init__(self) -> None:
        self._receiver: Callable[..., Any] | None = None

    def connect(self, receiver: Callable[..., Any], weak: bool) -> None:
        self._receiver = receiver

    async def send(self, app: Any, places: set[TP]) -> None:
        if self._receiver is not None:
            await self._receiver(app, places)


class Event(NamedTuple):
    """An event of an agent's stream."""

    message: Any


class AgentStream:
    """The chunks for one agent."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[Any] = asyncio.Queue(BUFFERED_CHUNKS)

    def noack(self) -> AgentStream:
        return self

    async def events(self) -> Any:
        while True:
            yield Event(await self.waiting.get())

    def clear(self) -> None:
        while not self.waiting.empty():
            self.waiting.get_nowait()


class FaustModel:
    """The Faust application of one simulated worker. ``member``: unique among all processes there ever were."""

    def __init__(self, clients: Clients, group: GroupModel, group_id: str, member: str, draws: random.Random) -> None:
        self.clients, self._group, self._group_id, self._member, self._draws = clients, group, group_id, member, draws
        self.consumer = ChunkConsumer(self, draws)
        self.consumer_generation_id = 0
        self.crashed, self.crash_reason = False, None
        self.on_partitions_assigned, self.on_partitions_revoked = Signal(), Signal()
        self._streams: dict[str, AgentStream] = {}
        self._agents: list[tuple[Callable[[AgentStream], Any], AgentStream]] = []
        self._jobs: list[asyncio.Task[None]] = []
        self._lost = asyncio.Event()

    def __str__(self) -> str:
        return self._member

    def topic(self, *names: str, key_type: type, value_type: type) -> tuple[str, ...]:
        return names

    def agent(self, topics: tuple[str, ...], name: str) -> Callable[[Callable[[AgentStream], Any]], None]:
        def add(function: Callable[[AgentStream], Any]) -> None:
            stream = AgentStream()
            self._agents.append((function, stream))
            self._streams.update(dict.fromkeys(topics, stream))

        return add

    async def start(self) -> None:
        self._jobs = [asyncio.create_task(function(stream)) for function, stream in self._agents]
        self._jobs += [asyncio.create_task(self._take_part()), asyncio.create_task(self._read())]

    async def stop(self) -> None:
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        await self.clients.network.ask("leave", lambda: self._group.leave(self._member))

    async def _take_part(self) -> None:
        """Join the group, and again whenever it is rebalanced or this member was excluded."""
        while True:
            joined: Membership = await self.clients.network.ask("join", lambda: self._group.join(self._member))
            places = {TP(*place) for place in joined.places}
            self.clients.network.loop.note(f"{self._member} has {sorted(places)} in generation {joined.generation}")
            self._lost.clear()
            heart = asyncio.create_task(self._beat(joined.generation))
            committed = await self.clients.network.ask(
                "committed", lambda: dict(self.clients.kafka.committed.get(self._group_id, {}))
            )
            self.consumer.assign({place: getattr(committed.get(place), "offset", 0) for place in sorted(places)})
            self.consumer_generation_id = joined.generation
            await self.on_partitions_assigned.send(self, places)
            self.consumer.flow_active = True
            await self._lost.wait()
            await heart
            self.consumer.flow_active = False
            for _, stream in self._agents:
                stream.clear()
            await self.on_partitions_revoked.send(self, places)

    async def _beat(self, generation: int) -> None:
        while True:
            await asyncio.sleep(self._group.session / HEARTBEATS)
            try:
                await self.clients.network.ask("heartbeat", lambda: self._group.heartbeat(self._member, generation))
            except (RebalanceInProgressError, UnknownMemberIdError):
                self._lost.set()
                return

    async def _read(self) -> None:
        while True:
            async for place, message in self.consumer.getmany(POLL_SECONDS):
                if current_process.get() in self.clients.network.losing:
                    self.clients.network.losing.remove(current_process.get())
                else:
                    await self._streams[place.topic].waiting.put(message)
