"""Converts the Python values of a service to the JSON that tidegauge reads."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import msgspec

PREDICTIONS, LABELS = "predictions", "labels"
"""The logical names of the topics."""
MAX_EVENT_BYTES = 1 << 20
"""The most bytes of an event; workers refuse larger records."""
MAX_ID_LENGTH = 256


class Event(NamedTuple):
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


def encoded(members: Any) -> bytes:
    """The JSON of an event's members. NaN and infinities become null (missing), NumPy's scalars and Decimals become numbers,
    times become RFC 3339, bytes become Base64; other types become their text. Raises UnusableError if the event is too
    large."""
    try:
        value = _encode(members)
        # Decimals lead to these tokens, which are not JSON. Inside of texts they do no harm.
        sound = b"NaN" not in value and b"Inf" not in value
    except (UnicodeEncodeError, ValueError, TypeError, OverflowError, RecursionError):
        sound = False
    if not sound:
        value = _encode(_plain(given(members) if isinstance(members, PredictionMembers) else members))
    if len(value) > MAX_EVENT_BYTES:
        raise UnusableError(f"an event of {len(value)} bytes; at most {MAX_EVENT_BYTES} are taken")
    return value


def named(values: Any) -> Any:
    """Convert values with names to a mapping: a pandas Series, the only row of a table (pandas, polars, pyarrow), a pydantic
    model, a named tuple. Anything else is returned unchanged. Raises UnusableError for a table with several rows."""
    if values is None or type(values) is dict or isinstance(values, Mapping):
        return values
    if hasattr(values, "_asdict"):
        return values._asdict()
    if hasattr(values, "model_dump"):
        return values.model_dump()
    if hasattr(values, "to_dicts"):
        rows = values.to_dicts()
    elif hasattr(values, "to_pylist") and hasattr(values, "schema"):
        rows = values.to_pylist()
    elif hasattr(values, "to_dict"):
        rows = values.to_dict("records") if hasattr(values, "columns") else [values.to_dict()]
    else:
        return values
    if len(rows) != 1:
        raise UnusableError(f"a table of {len(rows)} rows as one prediction's values; predictions() logs a table")
    return rows[0]


def timestamp(ts: Any) -> float | str:
    """Unix seconds, or RFC 3339 text unchanged. A time without a time zone is UTC. Raises UnusableError."""
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
    return seconds


def checked_id(request_id: Any) -> str:
    """The id as text. Raises UnusableError unless it has 1 to 256 characters that UTF-8 can encode."""
    text = request_id if type(request_id) is str else str(request_id)
    if not 0 < len(text) <= MAX_ID_LENGTH or not (text.isascii() or _carried(text)):
        raise UnusableError(f"request_id {text[:40]!r} is not 1 to {MAX_ID_LENGTH} characters of valid text")
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
