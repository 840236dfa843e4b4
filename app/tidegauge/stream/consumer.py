"""Creates consumers of committed records without aiokafka's cost per record. All consumers are made here or by Faust.

aiokafka converts every record to a frozen dataclass with eleven members and returns records one by one, which takes 3 µs each.
tidegauge needs only the members of the parsed record (offset, timestamp, key, value, headers). Since aiokafka has no setting
for this, the two functions are replaced. So are how its fetcher closes, which would cancel whoever stops a consumer, and how
it and the administration client read a group's offsets, of which they take an error for none.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import islice
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError, NotCoordinatorForGroupError, for_code
from aiokafka.protocol.commit import OffsetFetchResponse_v2, OffsetFetchResponse_v3

from tidegauge.stream.logs import PassingErrorFilter
from tidegauge.stream.settings import MAX_MESSAGE_BYTES, Settings


class Chunk(list[Any]):
    """Records of one partition that were fetched together. ``begin``, ``end``: the records are all that there are from offset
    ``begin`` to below ``end``. The next chunk of the partition begins at this ``end``, unless the consumer was moved or a chunk
    between them was lost."""

    begin = end = 0


class EmptyOffsets(NamedTuple):
    """The offsets from ``begin`` to below ``end``, which follow on the newest chunk and have no records, only markers of
    transactions, or what was aborted or compacted."""

    begin: int
    end: int


def empty_offsets(state: Any) -> EmptyOffsets | None:
    """The empty offsets after the newest chunk of a partition, given aiokafka's state of it; None if nothing was fetched."""
    found: EmptyOffsets | None = getattr(state, "empty_offsets", None)
    return found


def _as_it_is(self: fetcher.PartitionRecords, place: Any, record: Any) -> Any:
    return record


def _at_once(self: fetcher.FetchResult, max_records: int | None = None) -> Chunk:
    records = Chunk()
    if not self.check_assignment(self._topic_partition) or not self.has_more():
        return records
    state = self._assignment.state_value(self._topic_partition)
    before, position = empty_offsets(state), state.position
    records.extend(islice(self._partition_records._records_iterator, max_records))
    self._update_position()
    records.begin = before.begin if before is not None and before.end == position else position
    records.end = state.position
    state.empty_offsets = EmptyOffsets(records.end if records else records.begin, records.end)
    if max_records is None or len(records) < max_records:
        self._partition_records = None
    return records


def discard_fetched(client: Any) -> None:
    """Free what a consumer has fetched and nobody is going to read. In aiokafka such records refer to themselves through the
    generator that unpacks them: they would stay in memory, a megabyte each, until the rarest pass of the garbage collector."""
    for result in client._fetcher._records.values():
        if (records := getattr(result, "_partition_records", None)) is not None:
            records._records_iterator.close()


async def _closed(self: fetcher.Fetcher) -> None:
    """As in aiokafka, but for the last line. It awaits the requests that it cancels, and one that waits to try a dead broker
    again ends with that cancellation: stopping a consumer would seem to be cancelled itself, and leave connections open."""
    self._closed = True
    self._fetch_task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await self._fetch_task
    for waiter in self._fetch_waiters:
        self._notify(waiter)
    for request in self._pending_tasks:
        request.cancel()
    await asyncio.gather(*self._pending_tasks, return_exceptions=True)


def group_error(response: Any) -> KafkaError | None:
    """The error of an answer about a group's offsets as a whole; None if there is none. aiokafka reads those of partitions, of
    which such an answer has none: to it, a coordinator that was still loading said that nothing was ever committed."""
    if not isinstance(response, OffsetFetchResponse_v2 | OffsetFetchResponse_v3) or not response.error_code:
        return None
    error: KafkaError = for_code(response.error_code)()
    return error


_send, _ask = GroupCoordinator._send_req, AIOKafkaAdminClient._send_request


async def _answered(self: GroupCoordinator, request: Any) -> Any:
    response = await _send(self, request)
    error = group_error(response)
    if error is not None:
        if isinstance(error, NotCoordinatorForGroupError):
            self.coordinator_dead()
        raise error
    return response


async def _asked(self: AIOKafkaAdminClient, request: Any, node_id: int | None = None) -> Any:
    response = await _ask(self, request, node_id)
    if (error := group_error(response)) is not None:
        raise error
    return response


class _SteadyClock:
    """Replaces the wall clock in aiokafka's fetcher, which stores when it last received an answer about a partition. That
    moment is compared with others, and the wall clock may be set back between them."""

    time = monotonic = staticmethod(time.monotonic)


# Processes of others, which use tidegauge as a library, have no filters of ours at their log's handlers.
fetcher.log.addFilter(PassingErrorFilter())
fetcher.time = _SteadyClock
fetcher.PartitionRecords._consumer_record = _as_it_is
fetcher.FetchResult.getall = _at_once
fetcher.Fetcher.close = _closed
GroupCoordinator._send_req = _answered
AIOKafkaAdminClient._send_request = _asked


def consumer(settings: Settings, **arguments: Any) -> Any:
    """A consumer of committed records that does not commit offsets by itself. ``arguments``: those of ``AIOKafkaConsumer``."""
    defaults = {
        "isolation_level": "read_committed", "auto_offset_reset": "earliest", "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
    }  # fmt: skip
    return AIOKafkaConsumer(enable_auto_commit=False, **{**defaults, **arguments}, **settings.client())


async def committed(client: Any, places: list[TopicPartition]) -> dict[TopicPartition, int]:
    """What the group of a consumer that was started has committed, without partitions where it has committed nothing. The
    consumer itself asks about one partition at a time."""
    found = await client._coordinator.fetch_committed_offsets(places)
    return {place: of.offset for place, of in found.items() if of.offset >= 0}
