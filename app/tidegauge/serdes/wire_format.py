"""Confluent's wire format: a magic byte (0), the schema's id in four bytes, of Protobuf the message's place in its file, then
the payload. JSON never begins with a zero byte, so that both may stand in one topic.

Source: Confluent's documentation of serializers, "Wire format".
"""

from __future__ import annotations

from typing import NamedTuple

MAGIC = 0
HEAD_BYTES = 5


class Framed(NamedTuple):
    schema_id: int
    payload: bytes


def is_framed(value: bytes | None) -> bool:
    return value is not None and len(value) >= HEAD_BYTES and value[0] == MAGIC


def framed(value: bytes) -> Framed:
    """The parts of a value that ``is_framed``.

    >>> framed(b"\\x00\\x00\\x00\\x00\\x11{}")
    Framed(schema_id=17, payload=b'{}')
    """
    return Framed(int.from_bytes(value[1:HEAD_BYTES], "big"), value[HEAD_BYTES:])


class Message(NamedTuple):
    """``indexes``: of the message in its file, then of one nested in it, and so on."""

    indexes: tuple[int, ...]
    payload: bytes


def message(payload: bytes) -> Message:
    """The parts of a Protobuf payload: zigzag varints, first how many indexes there are. None stands for the first message.

    >>> message(b"\\x00abc"), message(b"\\x04\\x02\\x00abc")
    (Message(indexes=(0,), payload=b'abc'), Message(indexes=(1, 0), payload=b'abc'))

    Raises ValueError where the bytes end before, or say something else.
    """
    count, at = _zigzag(payload, 0)
    if count < 0 or count > len(payload):
        raise ValueError(f"{count} message indexes")
    indexes = []
    for _ in range(count):
        index, at = _zigzag(payload, at)
        if index < 0:
            raise ValueError(f"message index {index}")
        indexes.append(index)
    return Message(tuple(indexes) or (0,), payload[at:])


def _zigzag(data: bytes, at: int) -> tuple[int, int]:
    """The number at a place, and the place after it."""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the message indexes have no end")
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return (number >> 1) ^ -(number & 1), at
