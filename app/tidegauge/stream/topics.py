"""Creates missing topics, and refuses topics that do not fit together."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError
from aiokafka.protocol.metadata import MetadataRequest

from tidegauge.engine.stage import ALERTS, INCIDENTS, LABELS, METRICS, MODELS, OPEN_WINDOWS, PREDICTIONS, PROFILES
from tidegauge.errors import TopicError
from tidegauge.stream.settings import INFERENCES, JOIN_CHANGELOG, MAX_MESSAGE_BYTES, MONITOR_CHANGELOG, REKEYED, Settings

log = logging.getLogger(__name__)
SHOWN_SECONDS = 10.0
"""The most seconds to wait for a new topic."""
ANSWER_SECONDS = 2.0
"""The most seconds to wait for one broker's answer."""
_LARGE = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
# A broker may limit all topics by size (log.retention.bytes), but what is deleted here goes by age or not at all.
_WHOLE = {"retention.bytes": "-1", **_LARGE}
_LOG = {"cleanup.policy": "delete", "retention.ms": "-1", **_WHOLE}
_STATES = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(90 * 86_400_000)}
_CONFIGS = {
    MODELS: {"cleanup.policy": "compact", **_LARGE},
    METRICS: {"cleanup.policy": "compact", "compression.type": "zstd", **_LARGE},
    # Every transition is kept for 90 days, and afterwards the newest one of each alert, so a long-firing alert is not lost.
    ALERTS: _STATES,
    INCIDENTS: _STATES,
    # A record is taken back when its window closes; what was not, goes by age.
    OPEN_WINDOWS: {"cleanup.policy": "compact,delete", "retention.ms": str(30 * 86_400_000), **_WHOLE},
    # Tasks delete what they have processed; where they may not, it goes by age.
    PROFILES: {"retention.ms": "86400000", **_WHOLE},
    INFERENCES: {"retention.ms": "86400000", **_WHOLE},
    JOIN_CHANGELOG: _LOG,
    MONITOR_CHANGELOG: _LOG,
    # Records are not deleted by age, which would be that of the events, but once they are joined. Small files make that quick.
    **{topic: {**_LOG, "message.timestamp.type": "CreateTime", "segment.bytes": str(64 << 20)} for topic in REKEYED.values()},
}


async def ensure(
    admin: AIOKafkaAdminClient, settings: Settings, label_horizon: float, needed: Collection[str] | None = None
) -> dict[str, int]:
    """Create missing topics; return the partition count of each topic by logical name.

    Raises TopicError if the topics do not fit together, or if a topic in ``needed`` (None: every topic) neither exists nor may
    be created. Logs a warning if Kafka would delete events within ``label_horizon`` seconds.
    """
    present = set(await admin.list_topics())
    sizes: dict[str, int] = {}
    described = await admin.describe_topics([settings.topic(t) for t in settings.all_topics if settings.topic(t) in present])
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    both = [counts.get(settings.topic(t)) for t in (PREDICTIONS, LABELS)]
    if not settings.rekeyed:
        _check_co_partitioned(settings, *both)
    width = max((count for count in both if count), default=settings.partitions)
    wanted = []
    for logical in settings.all_topics:
        name = settings.topic(logical)
        count = 1 if logical == MODELS else width if logical in (PREDICTIONS, LABELS, JOIN_CHANGELOG) else settings.partitions
        if logical == MONITOR_CHANGELOG:
            count = sizes[PROFILES]
        elif logical in REKEYED.values():
            count = sizes[JOIN_CHANGELOG]
        sizes[logical] = counts.get(name, count)
        if name not in counts:
            wanted.append(new(settings, logical, count))
    if wanted:
        await create(admin, wanted, {settings.topic(topic) for topic in needed or settings.all_topics})
    _check_changelogs(settings, sizes)
    await _warn_of_retention(admin, settings, label_horizon)
    return sizes


def configuration(logical: str) -> Mapping[str, str]:
    """The settings with which a logical topic is created, where they differ from the broker's."""
    return _CONFIGS.get(logical, {})


def new(settings: Settings, logical: str, partitions: int) -> NewTopic:
    """The specification with which a logical topic is created."""
    return NewTopic(settings.topic(logical), partitions, settings.replication, topic_configs=dict(configuration(logical)))


async def create(admin: AIOKafkaAdminClient, wanted: list[NewTopic], needed: Collection[str] | None = None) -> None:
    """Create topics, unless they have been created in the meantime, and wait until all brokers show them. Raises TopicError; if
    this user may not create a topic, only if the topic is in ``needed`` (None: every topic is)."""
    answer = await admin.create_topics(wanted)
    made = {name for name, code, *_ in answer.topic_errors if code in (0, TopicAlreadyExistsError.errno)}
    for name, code, *message in answer.topic_errors:
        if code == TopicAuthorizationFailedError.errno:
            if needed is None or name in needed:
                raise TopicError(f"topic {name} is not there, or not to be seen by this user, who may not create it either")
        elif code and code != TopicAlreadyExistsError.errno:
            raise TopicError(f"topic {name} cannot be created: {message[0] if message else code}")
    until = time.monotonic() + SHOWN_SECONDS
    while not made <= await _shown(admin) and time.monotonic() < until:
        await asyncio.sleep(0.05)


async def _shown(admin: AIOKafkaAdminClient) -> set[str]:
    """The topics that every broker shows which answers. Each learns of a new topic in a moment of its own, and the next client
    may ask any of them."""
    asked = (_shown_by(admin, broker.nodeId) for broker in admin._client.cluster.brokers())
    answers = [shown for shown in await asyncio.gather(*asked) if shown is not None]
    return set.intersection(*answers) if answers else set()


async def _shown_by(admin: AIOKafkaAdminClient, node: int) -> set[str] | None:
    """The topics that a broker shows; None if it does not answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await admin._send_request(MetadataRequest(None), node)
    except (KafkaError, TimeoutError):
        return None
    return {topic["topic"] for topic in answer.to_object()["topics"]}


def _check_co_partitioned(settings: Settings, predictions: int | None, labels: int | None) -> None:
    if predictions and labels and predictions != labels:
        raise TopicError(
            f"topic {settings.topic(PREDICTIONS)} has {predictions} partitions and {settings.topic(LABELS)} has {labels}; "
            "a label is joined in the partition of its prediction, so both need the same number: start workers with --rekey, "
            "or recreate one of the topics"
        )


def _check_changelogs(settings: Settings, sizes: dict[str, int]) -> None:
    joined = REKEYED.values() if settings.rekeyed else [PREDICTIONS]
    for one, other in (*((topic, JOIN_CHANGELOG) for topic in joined), (PROFILES, MONITOR_CHANGELOG)):
        if sizes[one] != sizes[other]:
            raise TopicError(
                f"topic {settings.topic(one)} has {sizes[one]} partitions, its state's changelog {settings.topic(other)} "
                f"{sizes[other]}; state cannot be moved between partitions: "
                + ("start workers with --rekey, or " if one == PREDICTIONS else "")
                + "start afresh with a new --app-id"
            )


async def _warn_of_retention(admin: AIOKafkaAdminClient, settings: Settings, label_horizon: float) -> None:
    names = [settings.topic(PREDICTIONS), settings.topic(LABELS)]
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in names])
    for answer in answers:
        for _, _, _, name, entries in answer.resources:
            for entry in entries:
                if entry[0] == "retention.ms" and 0 <= int(entry[1]) < label_horizon * 1000:
                    log.warning(
                        "topic %s keeps events for %.1f h, less than the label horizon of %.1f h: a worker that is "
                        "down for longer loses them; raise retention.ms",
                        name, int(entry[1]) / 3.6e6, label_horizon / 3600,
                    )  # fmt: skip
