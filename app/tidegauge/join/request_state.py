"""The entry of a request in the join's store: its predictions, and the statements of labels on their outcome.

An entry begins with a second (4 bytes, big-endian) that is not later than any of its predictions, and a byte for its form:

    OPEN     one prediction of a number, a truth value or nothing     35 bytes
    EARLY    one label of that kind, before its prediction            39
    JOINED   both                                                     69
    OTHER    anything else (several versions, text classes, probabilities, KPIs, several labels): ``RequestState`` as
    MessagePack

The first three have fixed layouts, so many of them can be read and written as one NumPy array, without an object for each
event.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

OTHER, OPEN, EARLY, JOINED = range(4)
NONE, NUMBER, TRUTH = range(3)
"""The kinds of values that fixed layouts can hold."""
EXACT = 2.0**53
"""The limit beyond which doubles cannot represent every integer."""
UNDATED = b"\0\0\0\0"

_HEAD: list[tuple[str, str]] = [("second", ">u4"), ("form", "u1")]
_PREDICTED = [("context", "<u4"), ("ts", "<f8"), ("kind", "u1"), ("value", "<f8"), ("score", "<f8")]
_KNOWN = [("label_kind", "u1"), ("label", "<f8"), ("label_ts", "<f8"), ("offset", "<i8"), ("arrived", "<i8")]
LAYOUTS = {
    OPEN: np.dtype(_HEAD + _PREDICTED),
    EARLY: np.dtype(_HEAD + _KNOWN),
    JOINED: np.dtype(_HEAD + _PREDICTED + _KNOWN),
}
_HEAD_BYTES = 5
_predicted, _known = struct.Struct("<IdBdd"), struct.Struct("<Bddqq")


class ImpliedLabel(NamedTuple):
    """The label that is implied because none has come, and the event time since which it is."""

    value: str
    since: float


class KeptPrediction(msgspec.Struct, array_like=True, gc=False):
    """One prediction as the join keeps it. ``context``: the number of its context (``join/contexts.py``)."""

    context: int
    ts: float
    value: int | float | str | bool | None
    score: float | None
    probabilities: dict[str, float | None] | None = None
    implied: ImpliedLabel | None = None


class Statement(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The value that a label event gives one member of an outcome: the label (``member`` is ""), or the KPI of that name.

    ``model``: the model whose predictions it is about, "" for any. ``offset``: of the record, to order equal ``ts``.
    """

    member: str
    value: int | float | str | bool
    ts: float
    offset: int
    model: str = ""


class RequestState(msgspec.Struct, array_like=True, gc=False):
    """Everything that is kept of a request. ``arrived``: record timestamp (ms) of its latest label event, -1 if there is
    none."""

    predictions: list[KeptPrediction]
    statements: list[Statement] = []
    arrived: int = -1


_encode_entry = msgspec.msgpack.Encoder().encode
_decode_entry = msgspec.msgpack.Decoder(RequestState).decode


def encode(since: bytes, entry: RequestState) -> bytes:
    return since + b"\0" + _encode_entry(entry)


def decode(raw: bytes) -> RequestState:
    form, place = raw[4], _HEAD_BYTES
    if form == OTHER:
        return _decode_entry(raw[place:])
    entry = RequestState([])
    if form != EARLY:
        context, ts, kind, value, score = _predicted.unpack_from(raw, place)
        entry.predictions.append(KeptPrediction(context, ts, _value(kind, value), None if score != score else score))
        place += _predicted.size
    if form != OPEN:
        kind, label, ts, offset, arrived = _known.unpack_from(raw, place)
        value = _value(kind, label)
        entry.statements, entry.arrived = [] if value is None else [Statement("", value, ts, offset)], arrived
    return entry


def predicted(raw: bytes) -> bool:
    """Whether an entry holds a prediction."""
    return raw[4] in (OPEN, JOINED) or (raw[4] == OTHER and bool(decode(raw).predictions))


def _value(kind: int, value: float) -> float | bool | None:
    return value if kind == NUMBER else None if kind == NONE else bool(value)


class PackedValues(NamedTuple):
    """Values (n) as columns: the kind of each value, and its number (NaN for None)."""

    kinds: NDArray[np.uint8]
    numbers: NDArray[np.float64]


def pack_values(values: Sequence[Any]) -> PackedValues | None:
    """The values as columns; None if one of them is a text, or an integer that a double cannot represent."""
    types = set(map(type, values))
    if not types <= {int, float, bool, type(None)}:
        return None
    packed = np.array(values, np.float64)
    if int in types and (np.abs(packed) >= EXACT).any():
        return None
    kinds = np.full(len(values), NUMBER, np.uint8)
    if bool in types:
        kinds[[type(value) is bool for value in values]] = TRUTH
    if type(None) in types:
        kinds[[value is None for value in values]] = NONE
    return PackedValues(kinds, packed)


def unpack_values(kinds: NDArray[np.uint8], packed: NDArray[np.float64]) -> list[Any]:
    """The values that ``pack_values`` was given; whole numbers come back as floats."""
    values: list[Any] = packed.tolist()
    for place in np.flatnonzero(kinds != NUMBER).tolist():
        values[place] = _value(kinds[place], values[place])
    return values


def rows(form: int, raws: Iterable[bytes]) -> NDArray[np.void]:
    """Encoded entries of one fixed form as an array (n) of that form's layout."""
    return np.frombuffer(b"".join(raws), LAYOUTS[form])


def raws(form: int, table: NDArray[np.void]) -> list[bytes]:
    """The encoded entries of an array (n) of that form's layout."""
    whole, size = table.tobytes(), LAYOUTS[form].itemsize
    return [whole[place : place + size] for place in range(0, len(whole), size)]


def joined(opened: NDArray[np.void], early: NDArray[np.void]) -> NDArray[np.void]:
    """Rows (n) of the layout JOINED, of rows OPEN with predictions and rows EARLY with their labels."""
    table = np.empty(len(opened), LAYOUTS[JOINED])
    table["second"], table["form"] = opened["second"], JOINED
    for name, _ in _PREDICTED:
        table[name] = opened[name]
    for name, _ in _KNOWN:
        table[name] = early[name]
    return table
