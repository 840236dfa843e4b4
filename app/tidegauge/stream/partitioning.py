"""Which partition a key belongs in: Kafka's default partitioner, murmur2, which brings a label to its prediction."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts ``key``.

    >>> [partition_of(key, 12) for key in (b"21", b"foobar", b"a-little-bit-long-string")]
    [0, 6, 8]
    """
    return int(murmur2(key) & 0x7FFFFFFF) % partitions
