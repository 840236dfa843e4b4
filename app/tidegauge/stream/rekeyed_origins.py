"""How far the records of each input partition have been re-keyed, as a join task sees from the records it reads.

Within a partition of a re-keyed topic, the records of one input partition are in the order of their original offsets, each
once, since they are written in the transactions that commit these offsets. A record that comes again shows that offsets were
lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegauge.engine.stage import InputRecord
from tidegauge.errors import StateError
from tidegauge.stream.stored_offsets import InputPartition


def take(topic: str, records: Sequence[InputRecord], reached: dict[InputPartition, int]) -> None:
    """Note the origins of re-keyed ``records`` of the input ``topic`` (logical name) in ``reached``: by input partition, the
    offset after the last record that was taken. Raises StateError if a record was taken before."""
    latest: dict[bytes, int] = {}
    for record in records:
        try:
            partition, at, *_ = (record.key or b"").split(b":", 2)
            offset = int(at)
            before = latest[partition] if partition in latest else reached.get(InputPartition(topic, int(partition)), 0)
        except ValueError:
            # No re-keying task has written this record.
            continue
        if offset < before:
            raise StateError(
                f"offset {offset} of {topic}, partition {int(partition)}, was re-keyed a second time, though the state "
                f"includes what comes before {before}: the group's offsets were lost or reset, or the topic was deleted and "
                "made anew. So that nothing counts twice, stop all workers and run tidegauge state rebuild, which makes "
                "the state anew from the topics"
            )
        latest[partition] = offset + 1
    reached.update({InputPartition(topic, int(partition)): offset for partition, offset in latest.items()})
