"""Decides whether inputs are re-keyed. The decision follows from the topics, so that all workers of a group agree, and is
final.

Inputs are re-keyed if the re-keyed topics exist. A worker creates them at its start if it is told to. If the choice is left to
it, it also creates them if nothing has been joined yet and one of two cases applies: the inputs hold records but have different
partition counts (for empty inputs that is an error, since it costs nothing to correct them); or their newest records are not in
the partitions that murmur2 of their request id gives. Once something has been joined, its labels are looked for in the
partition where the prediction was read. Re-keying could then lose labels that would have been joined, for instance if both
topics are partitioned by another hash. Only a person can decide that. If partitions were added to topics that have been joined,
a worker refuses to start, because labels may have been read in other partitions than their predictions: state has to be made
anew.

If re-keying is turned on while a worker still joins the topics as they are, this worker is fenced off and starts anew.
"""

from __future__ import annotations

import logging

import msgspec
from aiokafka.admin import AIOKafkaAdminClient

from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.errors import TopicError
from tidegauge.stream.committed_offsets import committed_offsets
from tidegauge.stream.key_placement import check_partitioner
from tidegauge.stream.newest_records import newest
from tidegauge.stream.settings import JOIN_CHANGELOG, REKEYED, Settings

log = logging.getLogger(__name__)
SHARE = 0.01
"""Inputs are re-keyed if at least this share of the newest records of a topic is in other partitions."""


async def decided(admin: AIOKafkaAdminClient, settings: Settings) -> Settings:
    """The settings with ``rekeyed`` decided by the topics, or else by the settings and the records. Raises TopicError if these
    contradict each other."""
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
    """The reason why inputs must be re-keyed; "" if they need not be."""
    names = [settings.topic(topic) for topic in (PREDICTIONS, LABELS, JOIN_CHANGELOG)]
    described = await admin.describe_topics([name for name in names if name in present])
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    committed = await committed_offsets(admin, settings.app_id)
    joined = any(place.topic in names and of.offset > 0 for place, of in committed.items())
    if len(set(counts.values())) > 1:
        said = "their partition counts differ: " + ", ".join(f"{name} has {count}" for name, count in counts.items())
        if joined and not present.intersection(settings.topic(topic) for topic in REKEYED.values()):
            raise TopicError(
                f"{said}. Partitions were added since they were first joined, so that labels may lie in other partitions than "
                "their predictions, and some may have missed each other already: stop all workers and run tidegauge "
                f"repartition --partitions {max(counts.values())}, which makes the state anew and loses nothing"
            )
        return said if any([await newest(settings, name, counts[name]) for name in names[:2] if name in counts]) else ""
    if joined:
        return ""
    return "; ".join(one.text for one in await check_partitioner(settings) if one.records >= SHARE * one.checked)
