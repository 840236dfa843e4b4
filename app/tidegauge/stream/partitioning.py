"""Kafka's default partitioner (murmur2), by which a label gets into the partition of its prediction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from aiokafka.partitioner import murmur2

_SEED, _M = np.uint32(0x9747B28C), np.uint32(0x5BD1E995)
FEW = 8
"""Up to this many keys are hashed faster one by one than together."""


def partition_of(key: bytes, partitions: int) -> int:
    """The partition into which Kafka's default partitioner puts ``key``.

    >>> [partition_of(key, 12) for key in (b"21", b"foobar", b"a-little-bit-long-string")]
    [0, 6, 8]
    """
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def partitions_of(keys: Sequence[bytes], partitions: int) -> list[int]:
    """Like ``partition_of``, for many keys at once.

    >>> partitions_of([b"21", b"foobar", b"a-little-bit-long-string"] * 4, 12)[:3]
    [0, 6, 8]
    """
    if len(keys) < FEW:
        return [partition_of(key, partitions) for key in keys]
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        by_length[len(key)].append(place)
    found = np.empty(len(keys), np.int64)
    for length, places in by_length.items():
        rows = np.frombuffer(b"".join([keys[place] for place in places]), np.uint8).reshape(len(places), length)
        found[places] = (_murmur2(rows) & np.uint32(0x7FFFFFFF)) % partitions
    return found.tolist()


def _murmur2(rows: np.ndarray) -> np.ndarray:
    """The murmur2 hashes (keys,), as unsigned 32-bit integers, of byte strings of equal length (keys, length)."""
    count, length = rows.shape
    whole = length - length % 4
    hashed = np.full(count, _SEED ^ np.uint32(length), np.uint32)
    for word in np.ascontiguousarray(rows[:, :whole]).view("<u4").T:
        mixed = word * _M
        mixed ^= mixed >> np.uint32(24)
        hashed = hashed * _M ^ mixed * _M
    if length > whole:
        for place in range(whole, length):
            hashed ^= rows[:, place].astype(np.uint32) << np.uint32(8 * (place - whole))
        hashed *= _M
    hashed ^= hashed >> np.uint32(13)
    hashed *= _M
    return hashed ^ hashed >> np.uint32(15)
