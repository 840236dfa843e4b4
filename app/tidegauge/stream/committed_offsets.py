"""Reads what a consumer group has committed, through an administration client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NodeNotReadyError,
    NotCoordinatorForGroupError,
)
from aiokafka.structs import OffsetAndMetadata

_NOT_YET = GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError, NodeNotReadyError
PATIENCE = 20
"""The most seconds in which a coordinator must be found and have loaded the group."""


async def committed_offsets(
    admin: AIOKafkaAdminClient, group: str, places: Sequence[TopicPartition] | None = None
) -> dict[TopicPartition, OffsetAndMetadata]:
    """What the group has committed in ``places`` (offset -1 for nothing), or wherever it has committed something. Waits for a
    new broker to create the internal topic of offsets, and for a new coordinator to load it. Raises KafkaError."""
    for _ in range(PATIENCE):
        try:
            return await _asked(admin, group, places)
        except _NOT_YET:
            await asyncio.sleep(1)
    return await _asked(admin, group, places)


async def _asked(
    admin: AIOKafkaAdminClient, group: str, places: Sequence[TopicPartition] | None
) -> dict[TopicPartition, OffsetAndMetadata]:
    found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(
        group, partitions=None if places is None else list(places)
    )
    return found
