"""Consumers of committed records, without what aiokafka costs per record: all of tidegauge's are made here, or by Faust.

aiokafka makes a frozen dataclass of eleven members of every record and hands them over one by one, 3 µs each. Nothing here
reads more than the record as it was parsed has (offset, timestamp, key, value, headers). It has no setting for it.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer import fetcher

from tidegauge.stream.settings import MAX_MESSAGE_BYTES, Settings


def _as_it_is(self: fetcher.PartitionRecords, place: Any, record: Any) -> Any:
    return record


def _at_once(self: fetcher.FetchResult, max_records: int | None = None) -> list[Any]:
    if not self.check_assignment(self._topic_partition) or not self.has_more():
        return []
    records = list(islice(self._partition_records._records_iterator, max_records))
    self._update_position()
    if max_records is None or len(records) < max_records:
        self._partition_records = None
    return records


fetcher.PartitionRecords._consumer_record = _as_it_is
fetcher.FetchResult.getall = _at_once


def consumer(settings: Settings, **arguments: Any) -> Any:
    """A consumer of committed records that commits nothing by itself; ``arguments`` as ``AIOKafkaConsumer`` takes them."""
    defaults = {
        "isolation_level": "read_committed", "auto_offset_reset": "earliest", "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
    }  # fmt: skip
    return AIOKafkaConsumer(enable_auto_commit=False, **{**defaults, **arguments}, **settings.client())
