"""The offsets up to which a task's state includes its inputs, stored with the state.

The group's offsets are committed in the same transactions, but may be lost alone: Kafka forgets those of a group that has had
no member for a week, and they can be reset.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tidegauge.engine.stage import Store

KEY = b"\xffoffsets"
"""The key of the offsets. No stage has keys that begin with its first byte."""
_decode = msgspec.json.Decoder(dict[str, int]).decode


def put(store: Store, offsets: Mapping[str, int]) -> None:
    """Store the offsets, by logical topic."""
    store.put(KEY, msgspec.json.encode(offsets))


def read(store: Store) -> dict[str, int]:
    """The stored offsets, by logical topic; {} in state of a version that did not store them."""
    found = store.get(KEY)
    return {} if found is None else _decode(found)
