"""Checks from the records themselves whether producers put labels into the same partitions as their predictions.

A label is joined in the partition of its prediction. Both are in the same partition if both have the ``request_id`` as key and
their producers map keys to partitions in the same way: by Kafka's default, murmur2 of the key. librdkafka and clients based on
it have another default (CRC-32). With N partitions, only one in N labels sent that way finds its prediction.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from tidegauge.client import key_of
from tidegauge.engine.stage import LABELS, PREDICTIONS, InputRecord
from tidegauge.errors import StreamError
from tidegauge.stream.newest_records import PlacedRecord, as_events, newest
from tidegauge.stream.partitioning import partition_of
from tidegauge.stream.reading import partitions
from tidegauge.stream.schema_registry import registry_at
from tidegauge.stream.settings import REKEYED, Settings

log = logging.getLogger(__name__)
MISTAKES = {
    "no_key": "without a key, and land anywhere: the key must be the request_id",
    "other_key": "keyed by something else than their request_id",
    "other_partitioner": "where murmur2 of their key does not put them: set the producer's partitioner to murmur2_random "
    "(librdkafka), or leave it at its default (Java)",
}
"""The mistakes of producers, by the name under which they are counted."""
PLAYBOOK = "docs/playbooks/partitioner.md"
A_CHUNK = 16
"""The most records that are checked of a chunk, which may have ten thousand; a check takes 10 µs."""


def mistake(record: InputRecord, partition: int, partitions: int) -> str | None:
    """Which of ``MISTAKES`` put a record into ``partition``; None if it belongs there or has no request id."""
    wanted = key_of(record.value or b"")
    if wanted is None:
        return None
    key = record.key
    if not key:
        return "no_key"
    if bytes(key) != wanted:
        return "other_key"
    return None if partition_of(key, partitions) == partition else "other_partitioner"


class PlacementMistake(msgspec.Struct, frozen=True):
    """One mistake in a logical ``topic``. ``records``: how many of the ``checked`` records show it."""

    topic: str
    mistake: str
    records: int
    checked: int

    @property
    def text(self) -> str:
        return f"{self.records} of {self.checked} records looked at in {self.topic} are {MISTAKES[self.mistake]}"


class KeyPlacement:
    """Checks records and counts them: ``checked`` by topic, ``misplaced`` by topic and mistake. ``tell``: called like the
    ``warning`` of a log, at the first mistake of each kind in a topic."""

    def __init__(self, partitions: int, tell: Callable[..., None] = log.warning) -> None:
        self._partitions, self._tell = partitions, tell
        self.checked: Counter[str] = Counter()
        self.misplaced: Counter[tuple[str, str]] = Counter()

    def look(self, topic: str, partition: int, records: Sequence[InputRecord], at_most: int = A_CHUNK) -> None:
        """Check at most ``at_most`` records of a chunk of the logical ``topic``, evenly spaced."""
        if topic not in (PREDICTIONS, LABELS):
            return
        some = records[:: -(-len(records) // at_most)]
        self.checked[topic] += len(some)
        for record in some:
            kind = mistake(record, partition, self._partitions)
            if kind is None:
                continue
            self.misplaced[topic, kind] += 1
            if self.misplaced[topic, kind] == 1:
                self._tell(
                    "topic %s, partition %d, offset %d: records are %s. Labels will not find their predictions; see %s",
                    topic, partition, record.offset, MISTAKES[kind], PLAYBOOK,
                )  # fmt: skip

    def found(self) -> list[PlacementMistake]:
        """The mistakes found, ordered by topic and mistake."""
        return [PlacementMistake(*name, count, self.checked[name[0]]) for name, count in sorted(self.misplaced.items())]


def placement(topic: str, partitions: int, records: Sequence[PlacedRecord]) -> KeyPlacement:
    """The result of checking all of these records of the logical ``topic``, without log lines."""
    found = KeyPlacement(partitions, lambda *told: None)
    for partition, record in records:
        found.look(topic, partition, [record])
    return found


async def check_partitioner(settings: Settings) -> list[PlacementMistake]:
    """The mistakes in the newest records of ``predictions`` and ``labels``; none for a missing topic or if inputs are re-keyed.
    Raises KafkaError if Kafka does not answer."""
    found: list[PlacementMistake] = []
    with contextlib.suppress(StreamError):
        await partitions(settings, settings.topic(REKEYED[PREDICTIONS]))
        return found
    async with registry_at(settings.schema_registry) as registry:
        for topic in (PREDICTIONS, LABELS):
            name = settings.topic(topic)
            try:
                count = len(await partitions(settings, name))
            except StreamError:
                continue
            records = await as_events(await newest(settings, name, count), registry)
            found += placement(topic, count, records).found()
    return found
