"""Creates consumers of committed records without aiokafka's cost per record. All consumers are made here or by Faust.

aiokafka converts every record to a frozen dataclass with eleven members and returns records one by one, which takes 3 µs each.
tidegauge needs only the members of the parsed record (offset, timestamp, key, value, headers). Since aiokafka has no setting
for this, the two functions are replaced.
"""

from __future__ import annotations

import time
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


class _SteadyClock:
    """Replaces the wall clock in aiokafka's fetcher, which stores when it last received an answer about a partition. That
    moment is compared with others, and the wall clock may be set back between them."""

    time = monotonic = staticmethod(time.monotonic)


fetcher.time = _SteadyClock
fetcher.PartitionRecords._consumer_record = _as_it_is
fetcher.FetchResult.getall = _at_once


def consumer(settings: Settings, **arguments: Any) -> Any:
    """A consumer of committed records that does not commit offsets by itself. ``arguments``: those of ``AIOKafkaConsumer``."""
    defaults = {
        "isolation_level": "read_committed", "auto_offset_reset": "earliest", "max_partition_fetch_bytes": MAX_MESSAGE_BYTES,
    }  # fmt: skip
    return AIOKafkaConsumer(enable_auto_commit=False, **{**defaults, **arguments}, **settings.client())
