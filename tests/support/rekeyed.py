"""Inputs that are re-keyed, without Kafka: input partitions that fill and are copied in transactions, and what a join reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.stream.reading_progress import GroupPosition
from tidegauge.stream.rekey_progress import FollowedLooks, GroupMeasurement, RekeyLooks

TOPICS = (PREDICTIONS, LABELS)


class Written(NamedTuple):
    """An event of an input partition: when it was written (steps), its ``ts`` and its value."""

    at: int
    ts: float
    value: bytes


class Source:
    """One input partition and its re-keying task: what is committed, and a transaction that is open or None."""

    def __init__(self) -> None:
        self.log: list[Written] = []
        self.committed, self.reached = 0, 0.0
        self.open: list[Written] | None = None

    @property
    def rest(self) -> int:
        return len(self.log) - self.committed


class RekeyedInputs:
    """``sources``: how many partitions the predictions and the labels have; ``partitions``: of the re-keyed topics."""

    def __init__(self, sources: tuple[int, int], partitions: int) -> None:
        self.sources = {topic: [Source() for _ in range(count)] for topic, count in zip(TOPICS, sources, strict=True)}
        self.rekeyed: dict[tuple[str, int], list[tuple[Source, Written]]] = {
            (topic, partition): [] for topic in TOPICS for partition in range(partitions)
        }
        self.joined = dict.fromkeys(self.rekeyed, 0)
        self.followed = [FollowedLooks(0.0) for _ in range(partitions)]
        self.looks: list[tuple[int, GroupMeasurement]] = []
        self.step = 1
        self._looks = RekeyLooks()

    def write(self, topic: str, source: int, ts: float, value: bytes) -> None:
        self.sources[topic][source].log.append(Written(self.step, ts, value))

    def rekey(self, topic: str, source: int, count: int) -> None:
        """Copy some events in a transaction, which stays open."""
        of = self.sources[topic][source]
        if of.open is None:
            of.open = of.log[of.committed : of.committed + count]
            for event in of.open:
                self.rekeyed[topic, self.partition_of(event.value)].append((of, event))

    def commit(self, topic: str, source: int) -> None:
        of = self.sources[topic][source]
        if of.open is not None:
            of.committed += len(of.open)
            of.reached = max([of.reached, *(event.ts for event in of.open)])
            of.open = None

    def look(self) -> None:
        """A look at the group, as every worker makes it."""
        places = [
            GroupPosition(f"rekey-{topic}", topic, number, of.committed, len(of.log), of.reached)
            for topic, sources in self.sources.items()
            for number, of in enumerate(sources)
        ]
        look = self._looks.take(float(self.step), places)
        assert look is not None
        self.looks.append((self.step, look))
        for partition, followed in enumerate(self.followed):
            followed.take(look, {topic: len(self.rekeyed[topic, partition]) for topic in TOPICS})

    def forget(self) -> None:
        """The looks of before are lost, as with the process that made them."""
        self._looks = RekeyLooks()
        self.followed = [FollowedLooks(float(self.step)) for _ in self.followed]

    def join(self, topic: str, partition: int, count: int) -> Sequence[bytes]:
        """The next committed events of a re-keyed partition, which are processed with this."""
        at, log = self.joined[topic, partition], self.rekeyed[topic, partition]
        taken: list[bytes] = []
        for of, event in log[at : at + count]:
            if of.open is not None and event in of.open:
                break
            taken.append(event.value)
        self.joined[topic, partition] += len(taken)
        self.followed[partition].read({of: self.joined[of, partition] for of in TOPICS}, float(self.step))
        return taken

    def partition_of(self, value: bytes) -> int:
        return _hash_of(value) % len(self.followed)

    def unread(self, topic: str, partition: int) -> list[Written]:
        """The events of a partition that have been written and were not joined."""
        joined = {event.value for _, event in self.rekeyed[topic, partition][: self.joined[topic, partition]]}
        every = [event for of in self.sources[topic] for event in of.log if self.partition_of(event.value) == partition]
        return [event for event in every if event.value not in joined]

    @property
    def done(self) -> bool:
        """All that was written is joined."""
        return all(not of.rest for sources in self.sources.values() for of in sources) and all(
            self.joined[name] == len(log) for name, log in self.rekeyed.items()
        )


@cache
def _hash_of(value: bytes) -> int:
    key: Any = json.loads(value)["request_id"]
    return int(murmur2(key.encode()) & 0x7FFFFFFF)
