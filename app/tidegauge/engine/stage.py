"""The interface of a stage: it takes records, changes its state and returns records. It uses no Kafka, no asyncio, no clock.

The Faust layer (``stream``) runs stages on Kafka, ``replay`` runs the same objects over files, and tests run them directly. A
stage owns one partition with all its state; whatever must outlive the stage is in its ``Store``. If anything fails, the stage
and the uncommitted part of its store are discarded and built anew from what was committed, so a stage never has to undo its
work (``engine/containment.py``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

PREDICTIONS, LABELS, MODELS, ALERTS, INCIDENTS, METRICS, DEAD_LETTERS, PROFILES, OPEN_WINDOWS = (
    "predictions",
    "labels",
    "models",
    "alerts",
    "incidents",
    "metrics",
    "dead-letters",
    "tidegauge-profiles",
    "tidegauge-open-windows",
)
"""Logical topic names, which the Faust layer maps to the configured names."""
Counters = Counter[tuple[str, str]]
"""How often something happened: by its name in ``stream.telemetry.COUNTERS`` and the value of that counter's one label."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One input record. ``aiokafka.ConsumerRecord`` has the same members and is used without conversion.

    ``timestamp``: the record's timestamp in milliseconds since the epoch; -1 if it has none, as in files.
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class RefusedRecord(Record, frozen=True, gc=False):
    """A record that cannot be read, for which ``reason`` (see ``refusals.REASONS``), and in words."""

    reason: str = ""
    message: str = ""


SCHEMA_ID = "schema_id"
"""The header of a record that was not JSON when it came: the id of its schema in the schema registry."""


class InputRecord(Protocol):
    """The members of an input record that a stage uses."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Iterable[tuple[str, bytes | None]]: ...


class Output(msgspec.Struct, frozen=True):
    """One output record. ``topic``: the logical name; ``partition``: None if the key determines it."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Store(Protocol):
    """The durable key-value state of a task. Reads see the task's own writes, committed or not. Values may not be empty."""

    def get(self, key: bytes) -> bytes | None: ...
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def put_many(self, pairs: Mapping[bytes, bytes]) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs of key and value whose key begins with ``prefix``, in key order."""
        ...


Behind = Mapping[str, float]
"""For each topic that has, or may have, further records to read: the event time up to which no record is missing. AS_TAKEN
means that the times of the records that were read give it."""
AS_TAKEN = math.inf
NOTHING: Behind = MappingProxyType({})


class Stage(Protocol):
    """The logic of one task. ``process`` buffers records; ``checkpoint`` turns them into state and outputs."""

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        """Take records of the logical ``topic``, in offset order. Never raises for invalid records."""
        ...

    def checkpoint(self, now: float, *, idle: bool = False, behind: Behind = NOTHING) -> list[Output]:
        """Settle all buffered work. Afterwards store and outputs agree and may be committed together. If there is nothing to
        publish, returns [] and does not change the store.

        ``now``: wall clock (Unix seconds) of the driver. ``idle``: for the join, that its input has been exhausted for the idle
        timeout; for the monitor, that its input is exhausted and no partition of the join has records that nobody processes.
        ``behind``: the topics with more records than were read.
        """
        ...

    @property
    def unfinished(self) -> bool:
        """Whether the last checkpoint left work for another one, which should follow without waiting for records."""
        ...

    def kept(self, value: bytes | None) -> bytes | None:
        """The part of a refused record's value that may be kept: all of it except personal data."""
        ...

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """The keys of those stored pairs that are no longer needed, which the rolling snapshot deletes. Counts them."""
        ...


class MemoryStore:
    """A ``Store`` in memory, for replay and tests."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        # The value that each key changed since the last ``freeze`` had then.
        self._before: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._data)

    def get(self, key: bytes) -> bytes | None:
        return self._data.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return list(map(self._data.get, keys))

    def put(self, key: bytes, value: bytes) -> None:
        if not value:
            raise ValueError("a store holds no empty values")
        self._before.setdefault(key, self._data.get(key))
        self._data[key] = value

    def put_many(self, pairs: Mapping[bytes, bytes]) -> None:
        for key in pairs.keys() - self._before.keys():
            self._before[key] = self._data.get(key)
        self._data.update(pairs)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """All pairs of key and value, in no particular order."""
        return self._data.items()

    def delete(self, key: bytes) -> None:
        self._before.setdefault(key, self._data.get(key))
        self._data.pop(key, None)

    def freeze(self) -> None:
        """Make everything written so far permanent."""
        self._before.clear()

    def revert(self) -> None:
        """Undo everything written since the last ``freeze``."""
        for key, value in self._before.items():
            if value is None:
                self._data.pop(key, None)
            else:
                self._data[key] = value
        self._before.clear()

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(k for k in self._data if k.startswith(prefix)):
            yield key, self._data[key]
