"""A re-keying task: copies the records of one input partition to the partitions that their request ids belong in.

It has no state. One transaction writes the records and commits the offsets, with the event time reached as metadata.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

from tidegauge.engine.stage import Output
from tidegauge.stream.committed_offsets import committed_offsets
from tidegauge.stream.faults import fault_at
from tidegauge.stream.input_task import InputTask, Offsets
from tidegauge.stream.rekeying import content, origin, place
from tidegauge.stream.sending import QueuedRecord, acknowledged
from tidegauge.stream.settings import REKEY, REKEYED, Settings
from tidegauge.stream.tracing import tracer

log = logging.getLogger(__name__)
BUFFERED_EVENTS = 10_000
"""A checkpoint is due after this many records, which wait in memory."""
SHARE_OF_INTERVAL = 0.5
"""The interval of a re-keying task's checkpoints, as a share of the configured one. It is short because the join waits for
it."""
MAX_AHEAD_MS = 1_800_000
"""The most that a record's timestamp may be ahead of the clock. By default, Kafka refuses records that are more than an hour
ahead."""


class RekeyTask(InputTask):
    """The task of ``stage`` (one of REKEY) for one partition of its topic. ``partitions``: of the topic that it writes to."""

    def __init__(self, stage: str, partition: int, settings: Settings, admin: Any, partitions: int) -> None:
        (self._topic,) = topics = (REKEY[stage],)
        super().__init__(stage, partition, topics, settings)
        self._output, self._admin, self._partitions = settings.topic(REKEYED[self._topic]), admin, partitions
        self._batches: dict[int, list[Any]] = {}
        self._event_time = 0.0
        self._opened = False

    @property
    def opened(self) -> bool:
        return self._opened

    async def _take_over(self) -> None:
        place_of, app_id = self._place(self._topic), self._settings.app_id
        committed = (await committed_offsets(self._admin, app_id, [place_of]))[place_of]
        self.offsets[self._topic] = max(committed.offset, 0)
        self._event_time = event_time(committed.metadata) or 0.0
        if committed.offset > 0 and event_time(committed.metadata) is None:
            # A join task has read this partition so far. Fence it off, so that it cannot commit what this task will process.
            await (await self._started_producer(f"{app_id}-join-{self.partition}")).stop()
            await self._transact({}, self._reached(self._note), [])
        self._opened = True
        log.info("%s: goes on at %d", self, self.offsets[self._topic])

    @property
    def _note(self) -> str:
        return repr(self._event_time)

    def _take(self, topic: str, records: Sequence[Any]) -> None:
        places, reached = place(records, self.partition, self._partitions)
        self._event_time = max(self._event_time, reached)
        latest = int(time.time() * 1000) + MAX_AHEAD_MS
        for record, partition in zip(records, places, strict=True):
            batches = self._batches.get(partition)
            if batches is None:
                batches = self._batches[partition] = [self._producer.create_batch()]
            value, headers = content(record)
            event = {
                "timestamp": min(record.timestamp, latest),
                "key": origin(record, self.partition),
                "value": value,
                "headers": list(headers),
            }
            if batches[-1].append(**event) is None:
                batches.append(self._producer.create_batch())
                batches[-1].append(**event)

    async def _commit(self, events: int, moved: bool) -> float | None:
        if not moved:
            return None
        began, offsets = time.monotonic(), self._reached(self._note)
        batches, self._batches = self._batches, {}
        with tracer.start_as_current_span("checkpoint", attributes=self._attributes) as span:
            span.set_attribute("tidegauge.events", events)
            await self._transact(batches, offsets, self._taken_letters())
        return time.monotonic() - began

    async def _transact(self, batches: dict[int, list[Any]], offsets: Offsets, letters: list[Output]) -> None:
        producer = self._producer
        fault_at("before-transaction")
        async with producer.transaction():
            await asyncio.gather(*(self._send(partition, ready) for partition, ready in batches.items()))
            await acknowledged([await self._queue_output(letter) for letter in letters])
            fault_at("mid-transaction")
            await producer.send_offsets_to_transaction(offsets, self._settings.app_id)
            fault_at("before-commit")
        fault_at("after-commit")

    async def _send(self, partition: int, batches: list[Any]) -> None:
        """Write the batches of one partition in order."""
        sent = [await self._producer.send_batch(batch, self._output, partition=partition) for batch in batches]
        await acknowledged([QueuedRecord(self._output, acknowledgement) for acknowledgement in sent])


def event_time(note: str | None) -> float | None:
    """The event time in the metadata of an offset that a re-keying task committed: the largest ``ts`` of the events below it;
    None if there is none.

    >>> event_time("1758931200.25"), event_time("")
    (1758931200.25, None)
    """
    return float(note) if note else None
