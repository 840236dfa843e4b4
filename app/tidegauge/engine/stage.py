"""What a stage is: records in, state changes and records out. No Kafka, no asyncio, no clock.

The Faust layer (``stream``) drives stages on Kafka, ``replay`` drives the same objects over files, tests drive them
directly. A stage owns one partition and everything of it; all that must outlive it goes through its ``Store``. When
anything fails the stage and the uncommitted part of its store are thrown away and built again from what was
committed, so a stage never has to undo (``engine/containment.py``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import msgspec

PREDICTIONS, LABELS, MODELS, ALERTS, INCIDENTS, METRICS, DEAD_LETTERS, PROFILES = (
    "predictions",
    "labels",
    "models",
    "alerts",
    "incidents",
    "metrics",
    "dead-letters",
    "tidegauge-profiles",
)
"""Logical topic names; the Faust layer maps them to the configured ones."""
Counters = Counter[tuple[str, str]]
"""How often something happened: by its name in ``stream.telemetry.COUNTERS`` and the value of that counter's one label."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One input record; ``aiokafka.ConsumerRecord`` has the same members and is taken as it is.

    ``timestamp`` is the record's own, in milliseconds since the epoch, or -1 where there is none (files).
    """

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()


class InputRecord(Protocol):
    """What a stage reads of an input record."""

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
    """One output record. ``topic`` is logical; ``partition`` None leaves the choice to the key."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Store(Protocol):
    """A task's durable key-value state. Reads see the task's own writes, committed or not."""

    def get(self, key: bytes) -> bytes | None: ...
    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def put_many(self, pairs: Mapping[bytes, bytes]) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All live pairs whose key begins with ``prefix``, in key order."""
        ...


Behind = Mapping[str, float]
"""By topic of which there is more to read, or may be, the event time up to which nothing is missing; AS_TAKEN where the records
that were taken say that by their own time."""
AS_TAKEN = math.inf
NOTHING: Behind = MappingProxyType({})


class Stage(Protocol):
    """One task's logic. ``process`` buffers; ``checkpoint`` settles the buffers into store and outputs."""

    def process(self, topic: str, records: Sequence[InputRecord]) -> None:
        """Take records of the logical ``topic`` in offset order. Never raises for bad input."""
        ...

    def checkpoint(self, now: float, *, idle: bool = False, behind: Behind = NOTHING) -> list[Output]:
        """Settle all buffered work. ``now`` is wall-clock seconds from the driver; ``idle`` says that this task's
        input has been exhausted for the idle timeout, of the monitor: that it is exhausted, and that no partition of the
        join holds records that nobody processes; ``behind``: of which topics there is more to read than was taken, or may
        be. After it returns, store and outputs agree and may be committed together. Returns [] and changes
        nothing in the store when there is nothing to say."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether the last checkpoint left work for another one, which then need not wait for records."""
        ...

    def kept(self, value: bytes | None) -> bytes | None:
        """What of a refused record's value may be kept: all of it but personal data."""
        ...

    def expired(self, pairs: Mapping[bytes, bytes]) -> list[bytes]:
        """The keys of those stored pairs that have outlived their use. The rolling snapshot drops them; count them."""
        ...


class MemoryStore:
    """A ``Store`` in a dictionary: for replay and tests."""

    def __init__(self) -> None:
        self._data: dict[bytes, bytes] = {}
        # Of each key changed since the last ``freeze``, its value then.
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
        """All live pairs, in no order."""
        return self._data.items()

    def delete(self, key: bytes) -> None:
        self._before.setdefault(key, self._data.get(key))
        self._data.pop(key, None)

    def freeze(self) -> None:
        """All that was written so far stays."""
        self._before.clear()

    def revert(self) -> None:
        """Undo what was written since the last ``freeze``."""
        for key, value in self._before.items():
            if value is None:
                self._data.pop(key, None)
            else:
                self._data[key] = value
        self._before.clear()

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(k for k in self._data if k.startswith(prefix)):
            yield key, self._data[key]
