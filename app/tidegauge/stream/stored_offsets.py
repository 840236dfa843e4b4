"""The offsets up to which a task's state includes its inputs, and what was re-keyed into them, stored with the state.

The group's offsets are committed in the same transactions, but may be lost alone: Kafka forgets those of a group that has had
no member for a week, and they can be reset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from tidegauge.engine.stage import Store

KEY = b"\xffoffsets"
"""The key of the offsets. No stage has keys that begin with its first byte."""
_decode = msgspec.json.Decoder(dict[str, int]).decode


class InputPartition(NamedTuple):
    """A partition of an input, by the logical name of its topic."""

    topic: str
    partition: int


def put(store: Store, partition: int, offsets: Mapping[InputPartition, int]) -> None:
    """Store the offsets in the state of the task of ``partition``."""
    named = {of.topic if of.partition == partition else f"{of.topic}/{of.partition}": at for of, at in offsets.items()}
    store.put(KEY, msgspec.json.encode(named))


def read(store: Store, partition: int) -> dict[InputPartition, int]:
    """The offsets in the state of the task of ``partition``; {} if a version stored it that did not store offsets."""
    found = store.get(KEY)
    if found is None:
        return {}
    named = {tuple(name.partition("/")[::2]): at for name, at in _decode(found).items()}
    return {InputPartition(topic, int(number) if number else partition): at for (topic, number), at in named.items()}
