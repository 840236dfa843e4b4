"""Which partition a key belongs in: Kafka's default partitioner, murmur2, which brings a label to its prediction."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts ``key``.

    >>> [partition_of(key, 12) for key in (b"21", b"foobar", b"a-little-bit-long-string")]
    [0, 6, 8]
    """
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


class Placement(msgspec.Struct, frozen=True):
    """How records of a topic lie. ``keyless`` have no key and lie anywhere, ``elsewhere`` not where murmur2 puts their key."""

    records: int
    keyless: int
    elsewhere: int


def placement(records: Iterable[tuple[bytes | None, int]], partitions: int) -> Placement:
    """Judge (key, partition) of records of a topic with so many partitions.

    >>> placement([(b"21", 0), (b"foobar", 7), (None, 2)], 12)
    Placement(records=3, keyless=1, elsewhere=1)
    """
    total = keyless = elsewhere = 0
    for key, partition in records:
        total += 1
        keyless += key is None
        elsewhere += key is not None and partition_of(key, partitions) != partition
    return Placement(total, keyless, elsewhere)
