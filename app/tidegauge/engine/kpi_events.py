"""Events with KPIs that belong to no request (tickets, retention), in the topic of labels, keyed by model and segment:

{"kpi": {"tickets": 3}, "model": "churn", "ts": 1759017600.0, "segment": {"region": "eu"}, "model_version": "churn_xgb:3"}
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from tidegauge.engine.events import Scalar, check_kpi_names, check_ts, clean, is_valid_name
from tidegauge.engine.stage import InputRecord
from tidegauge.errors import EventError


class KpiEvent(msgspec.Struct, gc=False):
    """One such event. ``ts``: the time that its figures are about, a float once it is read."""

    kpi: dict[str, float | bool | None]
    model: str
    ts: float | str
    model_version: str | None = None
    segment: dict[str, Scalar] | str | None = None
    segments: dict[str, Scalar] | str | None = None


_decode: Callable[[bytes], KpiEvent] = msgspec.json.Decoder(KpiEvent).decode


def is_kpi_event(value: bytes | None) -> bool:
    """Whether the value of a record that is not a label may be such an event."""
    return value is not None and b'"kpi"' in value and b'"request_id"' not in value


def read_kpi_event(record: InputRecord) -> KpiEvent:
    """The event in a record for which ``is_kpi_event`` is true. Raises EventError."""
    value = record.value or b""
    try:
        event = _decode(value)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError):
        try:
            members: Any = clean(json.loads(value.decode("utf-8")))
            event = msgspec.convert(members, KpiEvent)
        except msgspec.ValidationError as error:
            missing = "missing required field" in str(error)
            raise EventError("missing_member" if missing else "wrong_type", str(error)) from None
        except (ValueError, RecursionError) as error:
            raise EventError("not_json", f"the value cannot be read as JSON: {error}") from None
    event.ts = check_ts(event.ts, record)
    if not event.model or not is_valid_name(event.model) or not is_valid_name(event.model_version or None):
        raise EventError("bad_model", "a KPI that belongs to no request needs its model's name, of at most 256 characters")
    if not any(of is not None for of in event.kpi.values()):
        raise EventError("missing_member", "kpi has no value")
    check_kpi_names(event.kpi)
    return event
