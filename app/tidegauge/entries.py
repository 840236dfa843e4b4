"""What the join keeps under a request id: its predictions, and what is known of their outcome."""

from __future__ import annotations

import msgspec

from tidegauge.events import Label
from tidegauge.stage import InputRecord


class Predicted(msgspec.Struct, array_like=True, gc=False):
    """One prediction as the join keeps it."""

    context: int
    ts: float
    value: int | float | str | bool | None
    score: float | None
    probabilities: dict[str, float | None] | None = None


class Known(msgspec.Struct, array_like=True, gc=False):
    """What is known of a request's outcome: its label and its business values, each with when and where it was said.

    ``arrived``: record timestamp in ms of the latest label event.
    """

    label: int | float | str | bool | None
    ts: float
    offset: int
    business: dict[str, float] | None
    business_ts: float
    business_offset: int
    arrived: int


class Entry(msgspec.Struct, array_like=True, gc=False):
    """What stands under a request id, behind four bytes: a second (big endian) its prediction is not older than."""

    predictions: list[Predicted]
    known: Known | None = None


encode = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
UNDATED = b"\0\0\0\0"


def second(ts: float) -> bytes:
    return min(max(int(ts), 0), 0xFFFFFFFF).to_bytes(4, "big")


def decode(raw: bytes) -> Entry:
    return _decode_entry(raw[4:])


def updated(old: Known | None, event: Label, record: InputRecord) -> Known | None:
    """What is known after ``event``; None if it adds nothing. Label and business values each follow their latest
    word, by ts and then offset, so that a KPI that comes after the label does not take the label back."""
    business = None
    if event.business:
        business = {kpi: float(value) for kpi, value in event.business.items() if value is not None} or None
    ts, offset, arrived = float(event.ts), record.offset, record.timestamp
    if old is None:
        return Known(event.label, ts, offset, business, ts, offset, arrived)
    label_newer = event.label is not None and (old.label is None or (ts, offset) > (old.ts, old.offset))
    business_newer = business is not None and (old.business is None or (ts, offset) > (old.business_ts, old.business_offset))
    label_changes = label_newer and (event.label != old.label or ts != old.ts)
    business_changes = business_newer and (business != old.business or (ts != old.business_ts and old.label is None))
    if not (label_changes or business_changes):
        return None
    return Known(
        event.label if label_newer else old.label,
        ts if label_newer else old.ts,
        offset if label_newer else old.offset,
        business if business_newer else old.business,
        ts if business_newer else old.business_ts,
        offset if business_newer else old.business_offset,
        arrived,
    )
