"""From Python values, as a service has them, to the JSON that tidegauge reads."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

import msgspec

PREDICTIONS, LABELS = "predictions", "labels"
"""Logical names of the topics."""
MAX_EVENT_BYTES = 1 << 20
"""The worker refuses larger records."""
MAX_ID_LENGTH = 256


class Event(NamedTuple):
    """One event as it waits to be sent. ``topic`` is logical; ``traceparent`` goes into the record's headers."""

    topic: str
    key: str
    value: bytes
    traceparent: str | None = None


class UnusableError(ValueError):
    """An event that the worker would refuse. The message says why."""


class PredictionMembers(msgspec.Struct, omit_defaults=True, gc=False):
    """The members of a prediction event; what is not given is left out."""

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


def given(members: PredictionMembers) -> dict[str, Any]:
    """The members that have a value, or are told to have none."""
    found = msgspec.structs.asdict(members)
    return {
        name: value
        for name, value in found.items()
        if value is not msgspec.UNSET and (value is not None or name == "prediction")
    }


def encoded(members: Any) -> bytes:
    """The JSON of an event's members. NaN and infinities become null (missing), NumPy's scalars plain numbers, Decimals
    numbers, times RFC 3339, bytes Base64; what JSON has no form for becomes its text. Raises UnusableError for an event too
    large."""
    try:
        value = _encode(members)
        # As tokens, which JSON does not have, they come of Decimals; as text they do no harm.
        sound = b"NaN" not in value and b"Inf" not in value
    except (UnicodeEncodeError, ValueError, TypeError, OverflowError, RecursionError):
        sound = False
    if not sound:
        value = _encode(_plain(given(members) if isinstance(members, PredictionMembers) else members))
    if len(value) > MAX_EVENT_BYTES:
        raise UnusableError(f"an event of {len(value)} bytes; at most {MAX_EVENT_BYTES} are taken")
    return value


def named(values: Any) -> Any:
    """Values with their names, as a mapping, where ``values`` has names but is none: a pandas Series, the one row of a table
    (pandas, polars, pyarrow), a pydantic model, a named tuple. All else as it is. Raises UnusableError for a table of several
    rows."""
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
    """Unix seconds, or RFC 3339 text as it is. A time without a zone is UTC. Raises UnusableError."""
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
    """The id as text. Raises UnusableError where it is not 1 to 256 characters that UTF-8 can carry."""
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
    """A value that msgspec cannot encode, as one that it can."""
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime.datetime | datetime.date):
        # pandas' NaT is a datetime that has no year.
        return value.isoformat() if value == value else None
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):
        return sorted(map(str, value))
    name = type(value).__name__
    if name in ("NAType", "NaTType"):
        return None
    if hasattr(value, "item") and getattr(value, "size", 1) in (1, None):
        # NumPy's scalars; a tensor's size is a method.
        return value.item()
    if hasattr(value, "tolist"):
        return value.tolist()
    return str(value)


def _plain(value: Any) -> Any:
    """The same with only what JSON can say: for the rare event that the encoder refuses."""
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
