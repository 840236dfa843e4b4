"""`tidegauge doctor`: makes every check in turn. Checks that an earlier finding makes impossible are left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError

from tidegauge.engine.stage import (
    ALERTS,
    DEAD_LETTERS,
    INCIDENTS,
    LABELS,
    METRICS,
    MODELS,
    OPEN_WINDOWS,
    PREDICTIONS,
    PROFILES,
)
from tidegauge.errors import StreamError
from tidegauge.models.registry import ModelRecord
from tidegauge.stream import local_checks, record_checks, topic_checks
from tidegauge.stream.access_probe import AccessProbe
from tidegauge.stream.finding import Finding, judged
from tidegauge.stream.newest_records import PlacedRecord, as_events, newest
from tidegauge.stream.reading import records
from tidegauge.stream.schema_registry import registry_at
from tidegauge.stream.settings import JOIN_CHANGELOG, MONITOR_CHANGELOG, REKEYED, Settings

DEFAULT_HORIZON = 7 * 86400.0
REGISTRY_SECONDS = 15.0
NO_SCHEMA = f"the schema registry gives no schemas within {REGISTRY_SECONDS:.0f} s"
_WRITTEN = (
    MODELS, ALERTS, INCIDENTS, METRICS, OPEN_WINDOWS, DEAD_LETTERS, PROFILES, JOIN_CHANGELOG, MONITOR_CHANGELOG,
    *REKEYED.values(),
)  # fmt: skip
_ACLS = (
    "give its user Describe and Read on all topics and Write on those that tidegauge writes, Read on the group and Write on "
    "transactional ids that begin with the app id"
)


async def diagnose(settings: Settings, models: Path | None) -> AsyncIterator[Finding]:
    """Yield each finding as soon as it is made. ``models``: the directory of specs, None without one."""
    files: list[ModelRecord] = []
    if models is not None:
        specs = local_checks.spec_files(models)
        files = specs.records
        yield specs.finding
    yield local_checks.state_directory(settings.state_dir)
    try:
        admin = AccessProbe(**settings.client())
        await admin.start()
    except (KafkaError, OSError, StreamError) as error:
        yield Finding("broker", wrong=f"{settings.bootstrap} does not let us in ({error}): is it up, are the address and the "
                      "TIDEGAUGE_SECURITY_, SASL_ and SSL_ variables right?")  # fmt: skip
        yield local_checks.versions(None)
        return
    try:
        async for finding in _ask(settings, admin, files, models is not None):
            yield finding
    finally:
        await admin.close()


async def _ask(settings: Settings, admin: AccessProbe, files: list[ModelRecord], from_files: bool) -> AsyncIterator[Finding]:
    cluster = await admin.describe_cluster()
    yield Finding("broker", f"{len(cluster['brokers'])} answer at {settings.bootstrap}")
    yield local_checks.versions(await admin.api_versions())
    listed = set(await admin.list_topics())
    rekeyed = not listed.isdisjoint(map(settings.topic, REKEYED.values()))
    settings = msgspec.structs.replace(settings, rekeyed=rekeyed)
    names = {settings.topic(logical): logical for logical in settings.all_topics}
    hidden = {name: error for name, error in (await admin.topic_errors([*names])).items() if "Authorization" in error}
    yield topic_checks.presence(settings, listed | hidden.keys())
    described = await admin.describe_topics([name for name in names if name in listed]) if listed & names.keys() else []
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    # Nothing can be said about topics that are missing.
    inputs_there = counts.keys() >= {settings.topic(PREDICTIONS), settings.topic(LABELS)}
    if inputs_there:
        yield topic_checks.partition_counts(settings, counts)
    if counts:
        yield topic_checks.replicas(described)
    asked = await _newest_of_all(settings, counts)
    readable, refused = asked.records, asked.refused
    denied = {**{name: f"describe: {error}" for name, error in hidden.items()}, **refused}
    written = [name for name, logical in names.items() if logical in _WRITTEN and name in counts]
    writes = await admin.write_errors(f"{settings.app_id}-doctor", settings.app_id, written)
    denied |= {name or f"transactional id {settings.app_id}-doctor": error for name, error in writes.items() if error}
    wrong = [f"{name} is refused ({error})" for name, error in denied.items()]
    yield judged("access", [*wrong, _ACLS] if wrong else [], f"the group, transactions and {len(counts)} topics are allowed")
    configs = await topic_checks.configurations(admin, [*counts])
    if counts:
        yield topic_checks.clean_up(settings, configs)
    horizon = DEFAULT_HORIZON
    if settings.topic(MODELS) in readable:
        pairs = [(record.key, record.value) async for record in records(settings, MODELS)]
        published = local_checks.published(pairs)
        registry = published.registry
        yield published.finding
        if from_files:
            yield local_checks.unpublished(files, registry)
        horizon = max((registry.spec(model).label_horizon for model in registry.models()), default=DEFAULT_HORIZON)
    if not inputs_there:
        return
    yield topic_checks.retention(settings, configs, horizon)
    events = {settings.topic(topic): readable.get(settings.topic(topic), []) for topic in (PREDICTIONS, LABELS)}
    read = await _read_by_schemas(settings, events)
    readable |= read.records
    if read.finding is not None:
        yield read.finding
    if rekeyed:
        yield Finding("partitioner", "events are re-keyed: neither their keys nor their partitions matter")
    else:
        inputs = {
            topic: readable[settings.topic(topic)] for topic in (PREDICTIONS, LABELS) if settings.topic(topic) in readable
        }
        yield record_checks.partitioner(inputs, settings, counts)
    yield record_checks.request_ids(readable.get(settings.topic(PREDICTIONS), []))
    yield record_checks.scores(readable.get(settings.topic(PREDICTIONS), []))
    yield record_checks.clock(readable, time.time())


class _Events(NamedTuple):
    """Records as events, and what is to be said of the schemas that tell how to read them; None without any."""

    records: dict[str, list[PlacedRecord]]
    finding: Finding | None


async def _read_by_schemas(settings: Settings, found: dict[str, list[PlacedRecord]]) -> _Events:
    if settings.schema_registry is None:
        return _Events(found, record_checks.schemas_needed(found))
    try:
        async with registry_at(settings.schema_registry) as registry:
            assert registry is not None
            await registry.check()
            async with asyncio.timeout(REGISTRY_SECONDS):
                read = {name: await as_events(records, registry) for name, records in found.items()}
    except (StreamError, TimeoutError) as error:
        return _Events(found, Finding("schemas", wrong=str(error) or NO_SCHEMA))
    return _Events(read, record_checks.schemas(read, settings.schema_registry))


class _Readable(NamedTuple):
    """The newest records by topic, and for other topics the reason why Kafka refuses to let them be read."""

    records: dict[str, list[PlacedRecord]]
    refused: dict[str, str]


async def _newest_of_all(settings: Settings, counts: Mapping[str, int]) -> _Readable:
    names = sorted(counts)
    answers = await asyncio.gather(
        *(newest(settings, name, counts[name], ask_if_empty=True) for name in names), return_exceptions=True
    )  # fmt: skip
    found: dict[str, list[PlacedRecord]] = {}
    refused = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, TopicAuthorizationFailedError):
            refused[name] = f"read: {type(answer).__name__}"
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found[name] = answer
    return _Readable(found, refused)
