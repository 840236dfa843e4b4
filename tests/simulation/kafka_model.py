"""A model of a Kafka broker: logs with transactions, the transaction coordinator, offsets that transactions commit.

It holds what the protocol of tidegauge's tasks relies on; ``tests/kafka/test_model_assumptions.py`` asks the same of a real
broker.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import ConcurrentTransactions, OffsetOutOfRangeError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from tidegauge.engine.stage import Record

Offsets = Mapping[TopicPartition, OffsetAndMetadata]


class ProducerId(NamedTuple):
    """What a transactional producer identifies itself with: its transactional id, and which of those that ever had it."""

    transactional_id: str
    epoch: int


class _Entry(NamedTuple):
    """An entry of a log. ``record``: None for the marker that ends a transaction. ``transaction``: None for what was written
    outside of any."""

    record: Record | None
    offset: int
    transaction: Transaction | None


@dataclass(eq=False)
class Transaction:
    """One transaction of one producer. ``unmarked``: the partitions that its end has not reached yet; ``offsets``: those it
    commits, by group."""

    producer: ProducerId
    places: set[TopicPartition] = field(default_factory=set)
    offsets: dict[str, dict[TopicPartition, OffsetAndMetadata]] = field(default_factory=dict)
    committed: bool | None = None
    unmarked: set[Any] = field(default_factory=set)


class Batch(NamedTuple):
    """Records read of a partition from offset ``begin`` to below ``position``, and how far it can be read."""

    records: list[Record]
    begin: int
    position: int
    stable: int
    end: int


class PartitionLog:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.begin = self.end = 0
        self._entries: list[_Entry] = []
        self._open: dict[Transaction, int] = {}
        self._aborted: set[Transaction] = set()
        self._epochs: dict[str, int] = {}
        self._written: dict[tuple[ProducerId, int], int] = {}

    @property
    def stable(self) -> int:
        """The last stable offset: that of the oldest transaction that is not ended here."""
        return min(self._open.values(), default=self.end)

    def fence(self, producer: ProducerId) -> None:
        """Refuse older epochs from now on. Raises ProducerFenced if this one is old already."""
        if producer.epoch < self._epochs.get(producer.transactional_id, 0):
            raise ProducerFenced
        self._epochs[producer.transactional_id] = producer.epoch

    def append(self, record: Record, transaction: Transaction | None = None) -> int:
        offset = self.end
        self._entries.append(
            _Entry(Record(offset, record.timestamp, record.key, record.value, record.headers), offset, transaction)
        )
        self.end += 1
        if transaction is not None:
            self._open.setdefault(transaction, offset)
        return offset

    def repeated(self, producer: ProducerId, sequence: int) -> int | None:
        """The offset that request number ``sequence`` of a producer got; None if it was not here yet."""
        return self._written.get((producer, sequence))

    def append_batch(self, producer: ProducerId, sequence: int, records: Sequence[Record], transaction: Transaction) -> int:
        """Append the records of request number ``sequence``; return the offset of the first."""
        self.fence(producer)
        first = self._written[producer, sequence] = self.end
        for record in records:
            self.append(record, transaction)
        return first

    def mark(self, transaction: Transaction, producer: ProducerId) -> None:
        """End a transaction here; ``producer`` carries the epoch that ended it."""
        self.fence(producer)
        self._open.pop(transaction, None)
        if not transaction.committed:
            self._aborted.add(transaction)
        self._entries.append(_Entry(None, self.end, transaction))
        self.end += 1

    def delete_before(self, offset: int) -> None:
        self.begin = max(self.begin, min(offset, self.end))
        self._entries = self._entries[self._index(self.begin) :]

    def read(self, position: int, most: int) -> Batch:
        """Up to ``most`` committed records from ``position`` on. Raises OffsetOutOfRangeError."""
        if not self.begin <= position <= self.end:
            raise OffsetOutOfRangeError
        found: list[Record] = []
        begin, stable = position, self.stable
        for entry in itertools.islice(self._entries, self._index(position), None):
            if entry.offset >= stable or len(found) == most:
                break
            position = entry.offset + 1
            if entry.record is not None and entry.transaction not in self._aborted:
                found.append(entry.record)
        return Batch(found, begin, position, stable, self.end)

    def _index(self, offset: int) -> int:
        return bisect.bisect_left(self._entries, offset, key=lambda entry: entry.offset)


class _Coordinated:
    """What the coordinator knows of a transactional id."""

    def __init__(self) -> None:
        self.epoch = -1
        self.ongoing: Transaction | None = None
        self.last: Transaction | None = None

    @property
    def ending(self) -> bool:
        """Whether the last transaction has been decided but not everyone concerned knows yet."""
        return self.ongoing is not None and self.ongoing.committed is not None


class KafkaModel:
    """A cluster. ``later``: calls a function after a drawn delay; ``topics``: the number of partitions of each topic;
    ``timeout``: seconds after which a transaction is aborted, counted by ``at``, which calls a function after that many
    seconds."""

    def __init__(
        self, topics: Mapping[str, int], later: Callable[[Callable[[], None]], None],
        at: Callable[[float, Callable[[], None]], Any], timeout: float = 60.0,
    ) -> None:  # fmt: skip
        self.logs = {TopicPartition(topic, p): PartitionLog() for topic, count in topics.items() for p in range(count)}
        self.committed: dict[str, dict[TopicPartition, OffsetAndMetadata]] = {}
        self._later, self._at, self._timeout = later, at, timeout
        self._coordinated: dict[str, _Coordinated] = {}
        self._group_epochs: dict[str, int] = {}

    def partitions(self, topic: str) -> int:
        return sum(place.topic == topic for place in self.logs)

    @property
    def settled(self) -> bool:
        """Whether no transaction is ongoing anywhere."""
        return all(known.ongoing is None for known in self._coordinated.values())

    # -- the transaction coordinator -----------------------------------------------------------------------------

    def init_producer(self, transactional_id: str) -> ProducerId:
        """A new epoch of the transactional id, once its last transaction has ended everywhere; one that is ongoing is aborted.
        Raises ConcurrentTransactions until then."""
        known = self._coordinated.setdefault(transactional_id, _Coordinated())
        if known.ongoing is not None:
            if not known.ending:
                known.epoch += 1
                self._end(known, known.ongoing, False)
            raise ConcurrentTransactions
        known.epoch += 1
        return ProducerId(transactional_id, known.epoch)

    def _current(self, producer: ProducerId) -> _Coordinated:
        known = self._coordinated[producer.transactional_id]
        if producer.epoch != known.epoch:
            raise ProducerFenced
        return known

    def _transaction(self, producer: ProducerId) -> Transaction:
        """The ongoing transaction of a producer, or a new one."""
        known = self._current(producer)
        if known.ending:
            raise ConcurrentTransactions
        if known.ongoing is None:
            known.ongoing = begun = Transaction(producer)
            self._at(self._timeout, lambda: self._expire(known, begun))
        return known.ongoing

    def _expire(self, known: _Coordinated, transaction: Transaction) -> None:
        if known.ongoing is transaction and transaction.committed is None:
            known.epoch += 1
            self._end(known, transaction, False)

    def add_partition(self, producer: ProducerId, place: TopicPartition) -> None:
        self._transaction(producer).places.add(place)

    def add_offsets(self, producer: ProducerId, group: str) -> None:
        self._transaction(producer).offsets.setdefault(group, {})

    def end_transaction(self, producer: ProducerId, commit: bool) -> None:
        """Decide the ongoing transaction. The answer does not wait until all partitions know. Raises ConcurrentTransactions
        for a repetition that comes too early."""
        known = self._current(producer)
        if known.ending:
            raise ConcurrentTransactions
        if known.ongoing is None:
            if known.last is None or known.last.producer != producer or known.last.committed is not commit:
                raise ProducerFenced
            return
        self._end(known, known.ongoing, commit)

    def _end(self, known: _Coordinated, transaction: Transaction, commit: bool) -> None:
        transaction.committed = commit
        transaction.unmarked = {*transaction.places, *transaction.offsets}
        ender = ProducerId(transaction.producer.transactional_id, known.epoch)
        for place in sorted(transaction.places):
            self._later(partial(self._mark_partition, known, transaction, place, ender))
        for group in sorted(transaction.offsets):
            self._later(partial(self._mark_offsets, known, transaction, group, ender))
        self._marked(known, transaction)

    def _mark_partition(self, known: _Coordinated, transaction: Transaction, place: TopicPartition, ender: ProducerId) -> None:
        self.logs[place].mark(transaction, ender)
        transaction.unmarked.remove(place)
        self._marked(known, transaction)

    def _mark_offsets(self, known: _Coordinated, transaction: Transaction, group: str, ender: ProducerId) -> None:
        self._group_epochs[ender.transactional_id] = ender.epoch
        if transaction.committed:
            self.committed.setdefault(group, {}).update(transaction.offsets[group])
        transaction.unmarked.remove(group)
        self._marked(known, transaction)

    def _marked(self, known: _Coordinated, transaction: Transaction) -> None:
        if not transaction.unmarked:
            known.last, known.ongoing = transaction, None

    # -- partitions and groups -----------------------------------------------------------------------------------

    def produce(self, producer: ProducerId, sequence: int, place: TopicPartition, records: Sequence[Record]) -> int:
        """Append records of a transaction to a partition that was added to it; return the offset of the first."""
        log = self.logs[place]
        known = log.repeated(producer, sequence)
        if known is not None:
            return known
        transaction = self._current(producer).ongoing
        if transaction is None or transaction.committed is not None or place not in transaction.places:
            raise ProducerFenced
        return log.append_batch(producer, sequence, records, transaction)

    def commit_in_transaction(self, producer: ProducerId, group: str, offsets: Offsets) -> None:
        """Let the transaction commit offsets of a group. Whoever has the current epoch may, a member of the group or not."""
        known = self._current(producer)
        if producer.epoch < self._group_epochs.get(producer.transactional_id, 0) or known.ending or known.ongoing is None:
            raise ProducerFenced
        known.ongoing.offsets[group].update(offsets)
