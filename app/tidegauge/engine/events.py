"""The wire formats of predictions and labels as services send them: decodes and checks chunks of records.

The fast path decodes into typed structs. A record that it cannot decode is read with ``json`` and checked step by step: this
accepts NaN tokens, nested feature values and lone surrogates, and finds the reason if the record must be refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from tidegauge.engine.stage import InputRecord, RefusedRecord
from tidegauge.errors import EventError

MAX_RECORD_BYTES = 1 << 20
MAX_FEATURES = 2000
MAX_KPIS = 100
MAX_TS = 253402300799.0
MAX_NAME = 256
MAX_INTEGER = 2**63 - 1
"""A prediction or label that is a larger whole number is kept as the text of its digits, so that no two become one class."""
MAX_AHEAD_SECONDS = 86400.0
_FINER = {"milliseconds": 1e13, "microseconds": 1e16, "nanoseconds": 1e19}
"""Units in which a ``ts`` beyond MAX_TS was probably given, with the largest value of each (in the year 2286)."""

Scalar = int | float | str | bool | None
ABSENT = msgspec.Raw()


class Nested:
    """A feature value that is a list or an object, which is a type mismatch for every type of feature."""


class Prediction(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One prediction event as sent. ``ts``: Unix seconds as a float once it is decoded; ``latency_ms``: milliseconds.
    ``segments`` remain JSON, since few of them are different; ``segments_of`` reads them, and may still refuse the event."""

    request_id: str
    ts: float | str
    model_version: str
    model: str | None = None
    prediction: int | float | str | bool | msgspec.UnsetType | None = msgspec.UNSET
    score: float | None = None
    confidence: float | None = None
    features: dict[str, Scalar] | None = None
    features_summary: dict[str, Scalar] | None = None
    segments: msgspec.Raw = ABSENT
    segment: msgspec.Raw = ABSENT
    latency_ms: float | None = None
    error: str | None = None
    cost: float | None = None
    role: str | None = None
    attributions: dict[str, float | None] | None = None
    probabilities: dict[str, float | None] | None = None
    resources: dict[str, float | None] | None = None


class Label(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """One label event as sent. ``ts``: when the outcome became known, Unix seconds as a float once it is decoded. ``forget``:
    the event has no label, but requests that everything kept under its request id be deleted."""

    request_id: str
    ts: float | str
    label: int | float | str | bool | None = None
    business: dict[str, float | bool | None] | None = None
    model: str | None = None
    forget: bool = False


Event = TypeVar("Event", bound="Prediction | Label")


class DeadLetter(msgspec.Struct, frozen=True):
    """A refused record. ``reason``: one of ``refusals.REASONS``; ``message``: the reason in words."""

    record: InputRecord
    reason: str
    message: str


class Decoded(NamedTuple, Generic[Event]):
    """A decoded chunk of records: the accepted ``events`` (n), the record of each (n), and the refused records."""

    events: list[Event]
    records: list[InputRecord]
    refused: list[DeadLetter]


class Decoder(Generic[Event]):
    """Decodes chunks of records of one kind of event. ``unknown``: how many of the accepted events had unknown members."""

    def __init__(self, kind: type[Event]) -> None:
        self._kind: Any = kind
        self._predicts = issubclass(kind, Prediction)
        self._strict: Callable[[bytes], Event] = msgspec.json.Decoder(kind).decode
        self._members = frozenset(kind.__struct_fields__)
        self.unknown = 0

    def chunk(self, records: Sequence[InputRecord]) -> Decoded[Event]:
        """The events of ``records``; an event that breaks a rule becomes a dead letter, and raises nothing."""
        strict = self._strict
        events: list[Event] = []
        accepted: list[InputRecord] = []
        dead: list[DeadLetter] = []
        sound = self._all_sound(records)
        if sound is not None:
            return Decoded(sound, list(records), dead)
        for record in records:
            value = record.value
            try:
                if isinstance(record, RefusedRecord):
                    raise EventError(record.reason, record.message)
                if value is None or len(value) > MAX_RECORD_BYTES:
                    event = self._careful(value)
                else:
                    try:
                        event = strict(value)
                    except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError):
                        event = self._careful(value)
                event.ts = check_ts(event.ts, record)
                if not 0 < len(event.request_id) <= 256:
                    raise EventError("bad_request_id", "request_id must have 1 to 256 characters")
                self._check(event)
            except EventError as error:
                dead.append(DeadLetter(record, error.reason, str(error)))
            else:
                events.append(event)
                accepted.append(record)
        return Decoded(events, accepted, dead)

    def _all_sound(self, records: Sequence[InputRecord]) -> list[Event] | None:
        """The events of the chunk if the fast path can decode and accept all of them, as it mostly can; else None."""
        try:
            values = [record.value for record in records]
            if max(map(len, values)) > MAX_RECORD_BYTES:  # type: ignore[arg-type]
                return None
            events: list[Event] = list(map(self._strict, values))  # type: ignore[arg-type]
            times = [event.ts for event in events]
            stamps = [record.timestamp for record in records]
            earliest = min(stamps)
            latest = MAX_TS if max(stamps) < 0 else earliest / 1000 + MAX_AHEAD_SECONDS
            if set(map(type, times)) != {float} or min(times) < 0.0 or not max(times) <= latest:  # type: ignore[operator]
                return None
            lengths = [len(event.request_id) for event in events]
            if min(lengths) == 0 or max(lengths) > 256:
                return None
            if not self._plain(events):
                for event in events:
                    self._check(event)
            else:
                self._drop_answers_of_failed(events)
        except (msgspec.MsgspecError, RecursionError, UnicodeError, ValueError, TypeError, EventError):
            return None
        return events

    def _plain(self, events: Sequence[Any]) -> bool:
        """Whether ``_check`` would neither change nor refuse any of the events."""
        if not self._predicts:
            labels = [event.label for event in events]
            return None not in labels and _small(labels) and not any([event.business or event.model for event in events])
        features = [event.features for event in events]
        if None in features or max(map(len, features)) > MAX_FEATURES:
            return False
        named = {event.model_version for event in events} | {event.model for event in events}
        if not all(map(is_valid_name, named)) or "" in {event.error for event in events}:
            return False
        if any([len(event.segment) for event in events]):
            return False
        return _small([event.prediction for event in events])

    def _check(self, event: Any) -> None:
        if self._predicts:
            if event.features is None:
                event.features = event.features_summary or {}
            if len(event.segment) and bytes(event.segments) in (b"", b"null"):
                event.segments = event.segment
            if len(event.features) > MAX_FEATURES:
                raise EventError("too_many_features", f"{len(event.features)} features, at most {MAX_FEATURES}")
            if not event.model_version:
                raise EventError("missing_member", "model_version is empty")
            if not (is_valid_name(event.model_version) and is_valid_name(event.model or None)):
                raise EventError("bad_model", f"model and model_version have at most {MAX_NAME} characters, none of them NUL")
            if len(event.probabilities or ()) > MAX_FEATURES:
                raise EventError("too_many_features", f"{len(event.probabilities)} probabilities, at most {MAX_FEATURES}")
            event.error = event.error or None
            event.prediction = _exact(event.prediction)
            self._drop_answers_of_failed([event])
            return
        event.label = _exact(event.label)
        if event.business:
            check_kpi_names(event.business)
        if not is_valid_name(event.model or None):
            raise EventError("bad_model", f"model has at most {MAX_NAME} characters, none of them NUL")
        if event.label is None and not event.forget and not any(value is not None for value in (event.business or {}).values()):
            raise EventError("missing_member", "a label event needs label or business")

    def _drop_answers_of_failed(self, events: Sequence[Any]) -> None:
        """Remove the answers of failed predictions: a failed inference has none, but many services send zeros in its place."""
        if not self._predicts:
            return
        for event in events:
            if event.error is not None:
                event.prediction = event.score = event.confidence = event.probabilities = event.attributions = None

    def _careful(self, value: bytes | None) -> Event:
        if value is None:
            raise EventError("not_json", "the record has no value")
        if len(value) > MAX_RECORD_BYTES:
            raise EventError("too_large", f"{len(value)} bytes, at most {MAX_RECORD_BYTES}")
        try:
            members = json.loads(value.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            hint = "; it begins as a schema registry's records do, see --schema-registry" if value[:1] == b"\0" else ""
            raise EventError("not_json", f"the value cannot be read as JSON: {error}{hint}") from None
        if not isinstance(members, dict):
            raise EventError("not_an_object", f"the value is {_json_type(members)}, an event is an object")
        known = {name: members[name] for name in members if name in self._members}
        for name in ("request_id", "ts", *(("model_version",) if self._predicts else ())):
            if known.get(name) is None:
                raise EventError("missing_member", f"{name} is missing")
        request_id = known["request_id"]
        if isinstance(request_id, str) and _clean_text(request_id) != request_id:
            raise EventError("bad_request_id", "request_id is not valid text (a lone surrogate)")
        if isinstance(known["ts"], int | float) and not isinstance(known["ts"], bool):
            known["ts"] = timestamp(known["ts"])
        for name in ("features", "features_summary"):
            if isinstance(known.get(name), dict):
                known[name] = {_clean_text(k): _feature(v) for k, v in known[name].items()}
        features = {name: known.pop(name) for name in ("features", "features_summary") if isinstance(known.get(name), dict)}
        segments = {
            name: _raw_segments(known.pop(name)) for name in ("segments", "segment") if self._predicts and name in known
        }
        try:
            event: Event = msgspec.convert(clean(known), self._kind)
        except msgspec.ValidationError as error:
            raise EventError("wrong_type", str(error)) from None
        for name, value_ in (*features.items(), *segments.items()):
            setattr(event, name, value_)
        self.unknown += any(name not in self._members for name in members)
        return event


Segments = dict[str, Scalar] | str | None
_decode_segments: Callable[[msgspec.Raw], Segments] = msgspec.json.Decoder(Segments).decode


def segments_of(raw: msgspec.Raw) -> Segments:
    """An event's segments from their JSON. Raises EventError (wrong_type, not_json)."""
    if not len(raw):
        return None
    try:
        return _decode_segments(raw)
    except (msgspec.MsgspecError, UnicodeError):
        pass
    try:
        value = json.loads(bytes(raw).decode("utf-8"))
    except ValueError as error:
        raise EventError("not_json", f"segments cannot be read as JSON: {error}") from None
    return _decode_segments(_raw_segments(value))


def _raw_segments(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(msgspec.convert(clean(value), Segments)))
    except msgspec.ValidationError as error:
        raise EventError("wrong_type", f"{error} - at `$.segments`") from None


def check_ts(ts: float | int | str, record: InputRecord) -> float:
    """The Unix seconds of a ``ts`` member, which must be in range and not more than a day ahead of its record's timestamp.

    Raises EventError (bad_timestamp).
    """
    if type(ts) is not float:
        ts = timestamp(ts)
    if not 0.0 <= ts <= MAX_TS:
        hint = next((f"; Unix seconds are wanted, these may be {unit}" for unit, top in _FINER.items() if 0 <= ts <= top), "")
        raise EventError("bad_timestamp", f"ts {ts} is outside the years 1970 to 9999{hint}")
    if ts > record.timestamp / 1000 + MAX_AHEAD_SECONDS and record.timestamp >= 0:
        raise EventError("bad_timestamp", f"ts {ts} is more than a day ahead of its record's timestamp")
    return ts


def check_kpi_names(kpis: Collection[str]) -> None:
    """Raises EventError (too_many_features, wrong_type) for too many KPIs, or for a name that no KPI may have."""
    if len(kpis) > MAX_KPIS:
        raise EventError("too_many_features", f"{len(kpis)} KPIs, at most {MAX_KPIS}")
    if not all(map(is_valid_name, kpis)) or any("\x1f" in kpi for kpi in kpis):
        raise EventError("wrong_type", f"a KPI's name has 1 to {MAX_NAME} characters, none of them NUL or U+001F")


def is_valid_name(name: str | None) -> bool:
    """Whether ``name`` can be the name of a model, version or KPI; None, for no name, is valid."""
    return name is None or (0 < len(name) <= MAX_NAME and "\0" not in name)


def _exact(value: Any) -> Any:
    """A prediction or label as the join can store it; see MAX_INTEGER."""
    return str(value) if type(value) is int and not -MAX_INTEGER <= value <= MAX_INTEGER else value


def _small(values: Sequence[Any]) -> bool:
    """Whether none of the whole numbers among ``values`` is beyond MAX_INTEGER."""
    kinds = set(map(type, values))
    if int not in kinds:
        return True
    whole = values if len(kinds) == 1 else [value for value in values if type(value) is int]
    return max(whole) <= MAX_INTEGER and min(whole) >= -MAX_INTEGER


def timestamp(ts: float | int | str) -> float:
    """The Unix seconds of a ``ts`` member: a number, or a text in the format of RFC 3339, with its offset.

    >>> timestamp("2025-09-27T00:00:00Z")
    1758931200.0

    Raises EventError (bad_timestamp).
    """
    try:
        if isinstance(ts, str):
            moment = datetime.fromisoformat(ts)
            if moment.tzinfo is None:
                raise EventError("bad_timestamp", f"ts {ts[:40]!r} has no offset; RFC 3339 wants Z or +hh:mm")
            return moment.timestamp()
        seconds = float(ts)
    except (ValueError, OverflowError):
        raise EventError("bad_timestamp", f"ts {str(ts)[:40]!r} is neither Unix seconds nor RFC 3339") from None
    if not math.isfinite(seconds):
        raise EventError("bad_timestamp", "ts is not finite")
    return seconds


def model_of(version: str) -> str:
    """The model of a version whose event does not name the model: the part before the last colon, or all of it.

    >>> model_of("churn_xgb:3"), model_of("churn")
    ('churn_xgb', 'churn')
    """
    return version.rpartition(":")[0] or version


def _clean_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _feature(value: Any) -> Any:
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, dict | list):
        return Nested()
    return _finite(value)


def _finite(value: Any) -> Any:
    """The value; None for NaN, infinities, and whole numbers beyond the range of a float."""
    try:
        return value if value is None or math.isfinite(value) else None
    except OverflowError:
        return None


def clean(value: Any) -> Any:
    """The same JSON value, with None in place of NaN, infinities and whole numbers beyond the range of a float, and with "?" in
    place of lone surrogates, which UTF-8 cannot encode."""
    if isinstance(value, str):
        return _clean_text(value)
    if isinstance(value, dict):
        return {_clean_text(k): clean(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clean(v) for v in value]
    return _finite(value)


def _json_type(value: Any) -> str:
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"a {type(value).__name__}"
