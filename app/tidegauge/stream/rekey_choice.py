"""Whether inputs are re-keyed: told from the topics, so that all workers of a group decide alike, and stays so once it is.

Where the re-keyed topics exist, inputs are re-keyed. A worker makes them at its start if it was told to; or, left to choose,
where topics that hold records cannot be joined as they are (their partition counts differ; of empty ones that is a mistake
that costs nothing to mend, and is refused), and where their newest records do not lie where murmur2 of their request id puts
them and nothing has been joined yet. What was joined already is looked for in the partition where it was read: re-keying could
then lose labels that now find their predictions, as where both topics are partitioned by one other hash. That only a person
decides.

A worker that still joins the topics as they are when another turns re-keying on is fenced off and starts anew.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError

from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.errors import TopicError
from tidegauge.stream.key_placement import check_partitioner
from tidegauge.stream.newest_records import newest
from tidegauge.stream.settings import JOIN_CHANGELOG, REKEYED, Settings

log = logging.getLogger(__name__)
_NOT_YET = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)
PATIENCE = 20
"""Seconds in which a coordinator has to be found."""
SHARE = 0.01
"""Of the newest records of a topic, how many have to lie elsewhere."""


async def decided(admin: AIOKafkaAdminClient, settings: Settings) -> Settings:
    """The settings with ``rekeyed`` as the topics, or else what the settings and the records say. Raises TopicError where they
    do not go together."""
    present = set(await admin.list_topics())
    names = [settings.topic(topic) for topic in REKEYED.values()]
    if settings.rekey == "never":
        if present.intersection(names):
            raise TopicError(
                f"{' and '.join(names)} exist, so predictions and labels have been re-keyed, and --rekey never was said; "
                "leave it out, or delete the two topics once nothing in them is left to join"
            )
        return settings
    why = "it was asked for" if settings.rekey == "always" else await _why(admin, settings, present)
    if present.intersection(names):
        why = "they were before"
    if not why:
        return settings
    log.info("predictions and labels are re-keyed, since %s", why)
    return msgspec.structs.replace(settings, rekeyed=True)


async def _why(admin: AIOKafkaAdminClient, settings: Settings, present: set[str]) -> str:
    """Why inputs have to be re-keyed; "" if they need not be."""
    names = [settings.topic(topic) for topic in (PREDICTIONS, LABELS, JOIN_CHANGELOG)]
    described = await admin.describe_topics([name for name in names if name in present])
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    if len(set(counts.values())) > 1:
        said = "their partition counts differ: " + ", ".join(f"{name} has {count}" for name, count in counts.items())
        return said if any([await newest(settings, name, counts[name]) for name in names[:2] if name in counts]) else ""
    if any(place.topic in names and offset > 0 for place, offset in (await _committed(admin, settings.app_id)).items()):
        return ""
    return "; ".join(one.text for one in await check_partitioner(settings) if one.records >= SHARE * one.checked)


async def _committed(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """Where the group stands. A broker that is new has to make the topic of all groups first."""
    for _ in range(PATIENCE):
        try:
            return await _offsets(admin, group)
        except _NOT_YET:
            await asyncio.sleep(1)
    return await _offsets(admin, group)


async def _offsets(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    return {place: of.offset for place, of in (await admin.list_consumer_group_offsets(group)).items()}
