"""A Faust transport that delivers whole chunks: one Faust message contains all records fetched from a partition.

Faust takes 60 to 200 µs for each message, which is negligible for a chunk. Faust still does everything else: group membership,
assignment and flow control.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import TP, ConsumerMessage
from mode.threads import WorkerThread

from tidegauge.stream.consumer import empty_offsets
from tidegauge.stream.in_step import StepwiseReading

NAME = "tidegauge"
STOP_SECONDS = 3.0


class _Daemon(WorkerThread):  # type: ignore[misc]
    """A daemon thread. Mode's own thread would keep the process alive, and its heartbeat would keep the partitions; stopping it
    would block the event loop without a time limit."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(STOP_SECONDS)


class _Thread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    Worker = _Daemon

    def _create_worker_consumer(self, transport: Any) -> Any:
        # Faust has no settings for these. It reads uncommitted records unless it uses its own transactions, waits 1.5 s for a
        # fetch, and verifies the checksum of each batch, which the broker has done already and TCP does again (librdkafka does
        # not verify it by default, either).
        original = driver.aiokafka.AIOKafkaConsumer

        def committed(**arguments: Any) -> Any:
            return original(**{**arguments, "isolation_level": "read_committed", "fetch_max_wait_ms": 100, "check_crcs": False})

        driver.aiokafka.AIOKafkaConsumer = committed
        try:
            return super()._create_worker_consumer(transport)
        finally:
            driver.aiokafka.AIOKafkaConsumer = original

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Continue in all partitions at the group's committed offsets, which are returned."""
        found: Mapping[TP, int] = await self.call_thread(self._seek_to_committed)
        return found

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        # aiokafka's own function leaves a partition where it is if nothing was committed. What was fetched of it, and
        # discarded in a rebalance, would be lost.
        client = self._ensure_consumer()
        places = list(client.assignment())
        found = await client._coordinator.fetch_committed_offsets(places)
        # A coordinator that has just died is waited for, and a rebalance may take partitions away meanwhile.
        kept = client.assignment().intersection(places)
        committed = {place: max(found[place].offset, 0) if place in found else 0 for place in kept}
        for place, offset in committed.items():
            client.seek(place, offset)
        return committed


class DeliveryProgress(NamedTuple):
    """The progress of delivery in a partition: all records below offset ``end``, the last of them at ``at`` (s, monotonic
    clock)."""

    end: int
    at: float


NOTHING_YET = DeliveryProgress(0, 0.0)


class _Consumer(driver.Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    handed_over: dict[TP, DeliveryProgress]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.handed_over = {}
        self.in_step = StepwiseReading()

    @property
    def alive(self) -> bool:
        """Whether its thread is running."""
        thread = self._thread._thread
        return thread is not None and thread.is_alive()

    def behind(self, place: TP, processed: int, since: float) -> bool:
        """Whether ``place`` may have records from offset ``processed`` on that existed at ``since`` (monotonic clock). This is
        excluded once the broker has reported after ``since`` that there are no records beyond the delivered ones."""
        state = self._state(place)
        asked = None if state is None else state.timestamp
        return asked is None or asked / 1000.0 < since or self.lag(place, processed) > 0

    def last_handed_over(self, place: TP) -> float:
        """The wall clock at which the newest records of ``place`` were delivered; 0 if none were."""
        return self.handed_over.get(place, NOTHING_YET).at

    def lag(self, place: TP, processed: int) -> int:
        """The number of offsets from ``processed`` on, as far as the broker has reported."""
        state = self._state(place)
        if state is None or state.highwater is None:
            return 0
        end: int = state.highwater if state.lso in (None, -1) else state.lso
        return max(end - self.reached(place, processed), 0)

    def fetched(self, place: TP) -> int:
        """The offset up to which ``place`` has been fetched; 0 if it is not assigned or nothing is known yet."""
        state = self._state(place)
        return state.position if state is not None and state.has_valid_position else 0

    def reached(self, place: TP, processed: int) -> int:
        """The offset below which no record is left, given that a task has processed everything up to ``processed``, the end of
        a chunk or the offset it began at."""
        empty = empty_offsets(self._state(place))
        return empty.end if empty is not None and empty.begin == processed else processed

    def _state(self, place: TP) -> Any:
        """aiokafka's internal state of an assigned partition. Its public methods would have to be awaited."""
        client = self._thread._consumer
        subscription = None if client is None else client._subscription.subscription
        assignment = None if subscription is None else subscription.assignment
        return None if assignment is None else assignment.state_value(place)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        if active_partitions:
            now = time.monotonic()
            due = {place for place in active_partitions if not self.in_step.ahead(place, now, self._more)}
            if not due:
                # An empty set of partitions would mean all of them.
                await self.sleep(0.01)
                return {}
            active_partitions = due
        return await super()._getmany(active_partitions, timeout)

    def _more(self, place: TP) -> bool:
        return self.lag(place, self.handed_over.get(place, NOTHING_YET).end) > 0

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self.perform_seek()
            return
        for place, chunk in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if chunk and (active is None or place in active or place in self._buffered_partitions):
                last = chunk[-1]
                now = time.monotonic()
                self.handed_over[place] = DeliveryProgress(chunk.end, now)
                self.in_step.read(place, last.timestamp, now)
                yield place, ConsumerMessage(
                    place.topic, place.partition, last.offset, last.timestamp / 1000.0, 0, (), None,
                    chunk, None, 0, 0, place, generation_id=generation,
                )  # fmt: skip

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        # To Faust, a chunk looks like a gap in the offsets, which it would remember for ever although its commits are disabled.
        return


class ChunkTransport(driver.Transport):  # type: ignore[misc]
    """The transport that Faust uses: its consumer delivers chunks."""

    Consumer = _Consumer


TRANSPORTS.aliases[NAME] = f"{__name__}:ChunkTransport"
