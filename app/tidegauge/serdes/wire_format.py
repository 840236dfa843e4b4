"""Confluent's wire format: a zero byte, the schema's id (four bytes, big-endian), for Protobuf the place of the message in its
file, and the payload. JSON never begins with a zero byte, so one topic may have values of both kinds.

Source: Confluent's documentation of serializers, "Wire format".
"""

from __future__ import annotations

from typing import NamedTuple

MAGIC = 0
HEAD_BYTES = 5


class FramedValue(NamedTuple):
    """The parts of a value in this format: the ``schema_id`` in the registry, and the ``payload`` encoded with that schema."""

    schema_id: int
    payload: bytes


def is_framed(value: bytes | None) -> bool:
    """Whether a record's value is in this format."""
    return value is not None and len(value) >= HEAD_BYTES and value[0] == MAGIC


def framed(value: bytes) -> FramedValue:
    """The parts of a value that ``is_framed``.

    >>> framed(b"\\x00\\x00\\x00\\x00\\x11{}")
    FramedValue(schema_id=17, payload=b'{}')
    """
    return FramedValue(int.from_bytes(value[1:HEAD_BYTES], "big"), value[HEAD_BYTES:])


class Message(NamedTuple):
    """A Protobuf payload. ``indexes``: which message of the file it is, which of those nested in that, and so on."""

    indexes: tuple[int, ...]
    payload: bytes


def message(payload: bytes) -> Message:
    """The parts of a Protobuf payload, which begins with the number of indexes and the indexes as zigzag varints. If there are
    none, it is the first message of the file.

    >>> message(b"\\x00abc"), message(b"\\x04\\x02\\x00abc")
    (Message(indexes=(0,), payload=b'abc'), Message(indexes=(1, 0), payload=b'abc'))

    Raises ValueError if the payload is too short or has impossible indexes.
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
    """The number that begins at offset ``at``, and the offset behind it. Raises ValueError if it does not end."""
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the message indexes have no end")
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return (number >> 1) ^ -(number & 1), at
