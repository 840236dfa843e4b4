"""Converts the Python values of a service to the JSON that tidegauge reads."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
from collections.abc import Mapping, Set
from types import NoneType
from typing import Any

import msgspec

PREDICTIONS, LABELS = "predictions", "labels"
"""The logical names of the topics."""
MAX_EVENT_BYTES = 1 << 20
"""The most bytes of an event; workers refuse larger records."""
MAX_ID_LENGTH = 256
MAX_TS = 253402300799.0
"""The end of the year 9999, in Unix seconds."""
_ANSWERS = frozenset({int, float, str, bool, NoneType, msgspec.UnsetType})
_NUMBERS = frozenset({int, float, NoneType})
_TEXTS = frozenset({str, NoneType})
_NAMED = frozenset({dict, NoneType})


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event to be sent. ``topic``: the logical name; ``traceparent``: a header of the record."""

    topic: str
    key: str
    value: bytes
    traceparent: str | None = None


class UnusableError(ValueError):
    """An event that a worker would refuse. The message says why."""


class PredictionMembers(msgspec.Struct, omit_defaults=True, gc=False):
    """The members of a prediction event; members that are not given are left out."""

    request_id: str
    ts: Any
    model_version: Any
    model: Any = None
    prediction: Any = msgspec.UNSET
    score: Any = None
    confidence: Any = None
    features: Any = None
    segments: Any = None
    latency_ms: Any = None
    error: Any = None
    cost: Any = None
    role: Any = None
    attributions: Any = None
    probabilities: Any = None
    resources: Any = None


def given(members: PredictionMembers) -> dict[str, Any]:
    """The members that have a value, or that were explicitly given as None."""
    found = msgspec.structs.asdict(members)
    return {
        name: value
        for name, value in found.items()
        if value is not msgspec.UNSET and (value is not None or name == "prediction")
    }


def checked(members: PredictionMembers) -> PredictionMembers:
    """The members, of which each has one value of its kind, or values with names: an array of one value becomes that value, an
    exception its text, a version text, a row of a table a mapping. Raises UnusableError for what the worker would refuse."""
    if (
        type(members.prediction) in _ANSWERS and type(members.score) in _NUMBERS and type(members.latency_ms) in _NUMBERS
        and type(members.confidence) in _NUMBERS and type(members.cost) in _NUMBERS and type(members.model_version) is str
        and type(members.error) in _TEXTS and type(members.model) in _TEXTS and type(members.role) in _TEXTS
        and type(members.features) in _NAMED and type(members.segments) in _NAMED and type(members.attributions) in _NAMED
        and type(members.probabilities) in _NAMED
    ):  # fmt: skip
        return members
    for name in ("features", "segments", "attributions", "probabilities"):
        setattr(members, name, named(getattr(members, name), name))
    members.prediction = answer(members.prediction, "prediction")
    for name in ("score", "confidence", "latency_ms", "cost"):
        setattr(members, name, _number(getattr(members, name), name))
    for name in ("model_version", "model", "role", "error"):
        setattr(members, name, _text(getattr(members, name)))
    return members


def answer(value: Any, member: str) -> Any:
    """The one value that a prediction or label is. Raises UnusableError for several values, a table or a mapping."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping) or hasattr(value, "columns") or hasattr(value, "model_dump") or _encodes_with_names(value):
        raise UnusableError(f"{member} is a {type(value).__name__}; it is one value")
    if isinstance(value, list | tuple | Set):
        count = len(value)
    elif hasattr(value, "item"):
        # Arrays, Series and tensors; the size of a tensor is a method.
        size = getattr(value, "size", None)
        count = size if isinstance(size, int) else len(value) if getattr(value, "shape", None) else 1
    else:
        return value
    if count != 1:
        raise UnusableError(f"{member} has {count} values; it is one, as in predict(rows)[0] or predict_proba(rows)[0, 1]")
    return answer(next(iter(value)), member) if isinstance(value, list | tuple | Set) else value.item()


def _number(value: Any, member: str) -> Any:
    value = answer(value, member)
    if isinstance(value, datetime.timedelta):
        return value / datetime.timedelta(milliseconds=1)
    if type(value) in _NUMBERS:
        return value
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UnusableError(f"{member} {str(value)[:40]!r} is no number") from None


def _text(value: Any) -> str | None:
    if value is None or value is False:
        return None
    if isinstance(value, BaseException):
        # An exception may have no text of its own.
        return str(value) or repr(value)
    return str(value.value if isinstance(value, enum.Enum) else value)


def is_no_probability(members: PredictionMembers) -> bool:
    """Whether the score of checked members, or the confidence that stands for it, is outside 0 to 1 by more than rounding."""
    score = members.confidence if members.score is None else members.score
    return score is not None and (score > 1.000001 or score < -0.000001)


def encoded(members: Any) -> bytes:
    """The JSON of an event's members. NaN and infinities become null (missing), NumPy's scalars and Decimals become numbers,
    times become RFC 3339, bytes become Base64; other types become their text. Raises UnusableError if the event is too
    large."""
    try:
        value = _encode(members)
        # Decimals lead to these tokens, which are not JSON. Inside of texts they do no harm. To look for one byte is many times
        # faster than for three, and most events have neither.
        sound = not (b"N" in value and b"NaN" in value) and not (b"I" in value and b"Inf" in value)
    except (UnicodeEncodeError, ValueError, TypeError, OverflowError, RecursionError):
        sound = False
    if not sound:
        value = _encode(_plain(given(members) if isinstance(members, PredictionMembers) else members))
    if len(value) > MAX_EVENT_BYTES:
        raise UnusableError(f"an event of {len(value)} bytes; at most {MAX_EVENT_BYTES} are taken")
    return value


def named(values: Any, member: str) -> Any:
    """Convert values with names to a mapping: a pandas Series, the only row of a table (pandas, polars, pyarrow), a pydantic
    model, a named tuple, an element of a structured array of NumPy. Dataclasses, msgspec's and attrs' classes are encoded as
    they are. Raises UnusableError for a table with several rows and for values without names."""
    if values is None or type(values) is dict or isinstance(values, Mapping):
        return values
    if hasattr(values, "_asdict"):
        row = values._asdict()
        if type(values).__name__ == "Pandas":
            # A row of DataFrame.itertuples(), whose index is no feature.
            row.pop("Index", None)
        return row
    if hasattr(values, "model_dump"):
        return values.model_dump()
    if hasattr(values, "to_dicts"):
        rows = values.to_dicts()
    elif hasattr(values, "to_pylist") and hasattr(values, "schema"):
        rows = values.to_pylist()
    elif hasattr(values, "to_dict"):
        rows = values.to_dict("records") if hasattr(values, "columns") else [values.to_dict()]
    elif getattr(getattr(values, "dtype", None), "names", None):
        return dict(zip(values.dtype.names, values.item(), strict=True))
    elif _encodes_with_names(values) or (isinstance(values, str) and member == "segments"):
        return values
    else:
        raise UnusableError(f"{member}: a {type(values).__name__} has no names; give a dict, as dict(zip(names, values))")
    if len(rows) != 1:
        raise UnusableError(f"a table of {len(rows)} rows as one prediction's values; predictions() logs a table")
    return rows[0]


def _encodes_with_names(values: Any) -> bool:
    return dataclasses.is_dataclass(values) or isinstance(values, msgspec.Struct) or hasattr(values, "__attrs_attrs__")


def timestamp(ts: Any) -> float | str:
    """Unix seconds, or RFC 3339 text unchanged. A time without a time zone is UTC. Raises UnusableError."""
    if type(ts).__name__ == "datetime64":
        ts = ts.astype("datetime64[us]").item()
    if type(ts).__name__ == "NaTType":
        raise UnusableError("ts is missing (NaT)")
    if type(ts) is datetime.date:
        ts = datetime.datetime.combine(ts, datetime.time())
    if isinstance(ts, datetime.datetime):
        return (ts if ts.tzinfo else ts.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(ts, str):
        return ts
    try:
        seconds = float(ts)
    except (TypeError, ValueError, OverflowError):
        raise UnusableError(f"ts {str(ts)[:40]!r} is neither Unix seconds nor a time") from None
    if not math.isfinite(seconds) or seconds < 0:
        raise UnusableError(f"ts {seconds} is negative or not finite")
    if seconds > MAX_TS:
        raise UnusableError(f"ts {seconds:.0f} is after the year 9999; it is Unix seconds, not milliseconds")
    return seconds


def checked_id(request_id: Any) -> str:
    """The id as text. Raises UnusableError for a missing one, and unless it has 1 to 256 characters that UTF-8 can encode."""
    text = request_id if type(request_id) is str else _id_text(request_id)
    if not 0 < len(text) <= MAX_ID_LENGTH or not (text.isascii() or _carried(text)):
        raise UnusableError(f"request_id {text[:40]!r} is not 1 to {MAX_ID_LENGTH} characters of valid text")
    return text


def _id_text(request_id: Any) -> str:
    if isinstance(request_id, bytes):
        # As databases return text.
        return request_id.decode("utf-8", "surrogateescape")
    text = str(request_id)
    if text in ("None", "nan", "<NA>", "NaT"):
        raise UnusableError(f"request_id is missing ({text})")
    return text


def _carried(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _known(value: Any) -> Any:
    """Convert a value that msgspec cannot encode to one that it can."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime.datetime | datetime.date):
        # pandas' NaT is a datetime that is not equal to itself.
        return value.isoformat() if value == value else None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(map(str, value))
    name = type(value).__name__
    if name in ("NAType", "NaTType"):
        return None
    if isinstance(value, datetime.timedelta):
        # pandas' own durations are subclasses.
        return datetime.timedelta(seconds=value.total_seconds())
    if name in ("datetime64", "timedelta64"):
        # Of nanoseconds ``item`` would make whole numbers.
        return value.astype(f"{name}[us]").item()
    if hasattr(value, "item") and getattr(value, "size", 1) in (1, None):
        # This is for NumPy's scalars. The size of a tensor is a method.
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _plain(value: Any) -> Any:
    """The value with only types that JSON has, for the rare event that the encoder refuses."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_plain(str(name)): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, decimal.Decimal) and not value.is_finite():
        return None
    if value is None or isinstance(value, bool | int | float | bytes | decimal.Decimal | datetime.datetime):
        return value
    known = _known(value)
    return _plain(str(value) if type(known) is type(value) else known)


_encode = msgspec.json.Encoder(enc_hook=_known, decimal_format="number").encode
