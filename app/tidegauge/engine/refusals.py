"""Dead letters: refused records, unchanged except that personal data and excessive length are removed, and in JSON where a
schema said how to read them. Headers give the reason and the record's origin."""

from __future__ import annotations

import hashlib

import msgspec

from tidegauge.engine.set_aside import WorkPiece
from tidegauge.engine.stage import DEAD_LETTERS, PROFILES, SCHEMA_ID, InputRecord, Output, Record

UNPROCESSABLE, SET_ASIDE, GONE = "cannot_be_processed", "set_aside", "gone"
MAX_MESSAGE = 500
MAX_VALUE_BYTES, MAX_KEY_BYTES = 900_000, 100_000
"""The most bytes of a dead letter's value and key. It must fit into a topic with Kafka's default ``max.message.bytes``
(1,048,588) even if the record was larger or had been compressed."""
CUT = "cut"
"""The header of a record with a truncated value. It gives the length and the SHA-256 of the whole value."""

REASONS = {
    "not_json": "the value is not UTF-8 JSON, or is nested too deeply to be an event",
    "not_an_object": "the value is JSON but not an object",
    "unknown_schema": "the schema registry has no schema with the record's id, or one that cannot be used",
    "not_decodable": "the value is in a schema registry's format, but not what its schema says",
    "missing_member": "a required member is absent or null",
    "wrong_type": "a member of the event itself has the wrong type",
    "bad_request_id": "request_id is not 1-256 characters of valid text",
    "bad_model": "model or model_version is longer than 256 characters, or has a NUL character",
    "bad_timestamp": "ts is negative, not finite, after the year 9999, not RFC 3339, or a day ahead of its record",
    "too_large": "the record is larger than the documented bound",
    "too_many_features": "the event has more features, KPIs or probabilities than the documented bound",
    "too_many_versions": "the models and versions seen exceed the documented bound",
    "bad_inference": "a model server's request or response cannot be read, or does not hold what the spec's inputs say",
    UNPROCESSABLE: "processing it failed for a reason nobody foresaw; the message has the error's own words",
    SET_ASIDE: "no record: work on earlier ones failed for a reason nobody foresaw, and is left out; the message says which",
    GONE: "no record: the topic deleted records before they were read; the message says how many",
}
"""The values of the header ``reason`` of dead letters, and what they mean."""


def note_of_cut(whole: bytes) -> bytes:
    """The value of the header CUT for a record that has only the beginning of the value ``whole``.

    >>> note_of_cut(b"abc")
    b'of 3 bytes, sha256 ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    """
    return f"of {len(whole)} bytes, sha256 {hashlib.sha256(whole).hexdigest()}".encode()


def dead_letter(topic: str, partition: int, record: InputRecord, reason: str, message: str, kept: bytes | None) -> Output:
    """The dead letter of a record of the logical ``topic``. ``kept``: the part of its value that may be kept (``Stage.kept``),
    which is truncated to MAX_VALUE_BYTES."""
    cut = [(name, value) for name, value in record.headers if name == CUT and value is not None]
    if kept is not None and len(kept) > MAX_VALUE_BYTES:
        cut = cut or [(CUT, note_of_cut(kept))]
        kept = kept[:MAX_VALUE_BYTES]
    return Output(
        DEAD_LETTERS,
        record.key and record.key[:MAX_KEY_BYTES],
        kept,
        headers=(
            ("reason", reason.encode()),
            ("message", f"{reason}: {message}".encode("utf-8", "replace")[:MAX_MESSAGE]),
            ("topic", topic.encode()),
            ("partition", str(partition).encode()),
            ("offset", str(record.offset).encode()),
            *cut,
            *((name, value) for name, value in record.headers if name == SCHEMA_ID and value is not None),
        ),
    )


def letter_of_piece(piece: WorkPiece, partition: int, error: Exception) -> Output:
    """The dead letter of work that is set aside. Its value is what is lost with the work, or else a description of it. Its
    offset is -1, since it is about no single record."""
    told = msgspec.json.encode({"set_aside": piece.words(), "model": piece.model})
    words = f"{piece.words()} is set aside: {type(error).__name__}: {error}"
    return dead_letter(PROFILES, partition, Record(-1, -1, piece.model.encode(), None), SET_ASIDE, words, piece.lost or told)


def letter_of_gone(topic: str, partition: int, first: int, following: int) -> Output:
    """The dead letter that says that records of ``topic`` (logical) were deleted before they were read: those at the offsets
    from ``first`` to ``following`` - 1."""
    told = msgspec.json.encode({"gone": {"from": first, "below": following}})
    words = f"{following - first} records (offsets {first} to {following - 1}) were deleted before they were read"
    return dead_letter(topic, partition, Record(first, -1, None, None), GONE, words, told)
