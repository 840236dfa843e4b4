"""Reads the topics that tidegauge writes: committed records only, from the beginning."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from tidegauge.alert.listing import by_incident
from tidegauge.alert.operations import OPERATIONS
from tidegauge.engine.stage import ALERTS, INCIDENTS, METRICS, MODELS
from tidegauge.errors import StreamError
from tidegauge.report.archive import Archive
from tidegauge.stream.consumer import consumer
from tidegauge.stream.settings import Settings

log = logging.getLogger(__name__)


async def records(settings: Settings, topic: str, *, follow: bool = False) -> AsyncIterator[Any]:
    """Yield every committed record of the logical ``topic``: those that exist now or, with ``follow``, without end."""
    reader = consumer(settings)
    await reader.start()
    try:
        places = await partitions(settings, settings.topic(topic))
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        ends = await reader.end_offsets(places)
        while follow or any([await reader.position(place) < end for place, end in ends.items()]):
            for batch in (await reader.getmany(timeout_ms=200)).values():
                for record in batch:
                    yield record
    finally:
        await reader.stop()


async def partitions(settings: Settings, name: str) -> list[TopicPartition]:
    """The partitions of the topic ``name``. Raises StreamError if there is no such topic."""
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        if name not in await admin.list_topics():
            raise StreamError(f"{settings.bootstrap} shows no topic {name}; has a worker run there, and may this user read it?")
        (described,) = await admin.describe_topics([name])
    finally:
        await admin.close()
    return [TopicPartition(name, part["partition"]) for part in described["partitions"]]


async def fill_archive(settings: Settings, archive: Archive) -> None:
    """Add all records of the topics of metrics, alerts, incidents, operations and models to an archive. The last three topics
    may be missing, or this user may have no right to read them."""
    for topic, add in ((METRICS, archive.add_metric), (ALERTS, archive.add_alert)):
        async for record in records(settings, topic):
            if record.value is not None:
                add(record.value)
    try:
        archive.incidents = {}
        async for record in records(settings, INCIDENTS):
            if record.value is not None:
                archive.add_incident(record.value)
    except StreamError as error:
        archive.incidents = None
        log.warning("the report goes without incidents: %s", error)
    try:
        async for record in records(settings, OPERATIONS):
            archive.marks.apply(record.key, record.value)
    except StreamError:
        log.info("there are no marks")
    try:
        async for record in records(settings, MODELS):
            archive.specs.apply(record.key, record.value)
    except StreamError:
        log.info("the specs cannot be read; where versions came from is left out")


async def follow(settings: Settings, topic: str, line: Callable[[dict[str, Any]], str] | None, *, without_end: bool) -> None:
    """Print the events of a topic, each as the text that ``line`` makes of it or, without ``line``, unchanged."""
    async for record in records(settings, topic, follow=without_end):
        print(record.value.decode() if line is None else line(msgspec.json.decode(record.value)), flush=True)


async def list_alerts(settings: Settings) -> None:
    """Print all alert events by incident; without incidents if this user may not read them."""
    alerts = [msgspec.json.decode(record.value) async for record in records(settings, ALERTS)]
    incidents = []
    try:
        incidents = [msgspec.json.decode(record.value) async for record in records(settings, INCIDENTS)]
    except StreamError as error:
        log.warning("the list goes without incidents: %s", error)
    for line in by_incident(incidents, alerts):
        print(line, flush=True)
