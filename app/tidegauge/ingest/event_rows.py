"""Makes prediction events from the bodies of a request and its response, one event for each row, as ``inputs`` of the spec
says."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import msgspec

from tidegauge.engine.events import clean
from tidegauge.errors import EventError
from tidegauge.ingest.bodies import FIRST, Body
from tidegauge.ingest.messages import MAX_ID, bad, checked_id
from tidegauge.models.read_inputs import address
from tidegauge.spec import InputsSpec, ModelSpec

Event = dict[str, Any]


class EventRecord(NamedTuple):
    """The record of one event: its logical topic, its key, and its value as JSON."""

    topic: str
    key: bytes
    value: bytes


def of_request(inputs: InputsSpec, id_: str, body: Body) -> list[Event]:
    """The members of each row's event that are in the request. Raises EventError."""
    events: list[Event] = [{"request_id": name} for name in _ids(inputs, id_, body)]
    if not inputs.features:
        others = {inputs.request_id, *inputs.segments.values()}
        for event, values in zip(events, body.named(), strict=True):
            event["features"] = {name: value for name, value in values.items() if name not in others}
    for member, wanted in (("features", inputs.features), ("segments", inputs.segments)):
        columns = {name: _column(body, where, f"{member}.{name}") for name, where in wanted.items()}
        for place, event in enumerate(events):
            event.setdefault(member, {}).update({name: values[place] for name, values in columns.items() if values})
    return events


def of_response(inputs: InputsSpec, body: Body) -> list[Event]:
    """The members of each row's event that are in the response. Raises EventError."""
    events: list[Event] = [{} for _ in range(body.count)]
    for member in ("prediction", "score"):
        where = getattr(inputs, member)
        if where is not None:
            read = _needed if member == "prediction" else _numbers
            for event, value in zip(events, read(body, where, member), strict=True):
                event[member] = value
    if inputs.probabilities:
        classes = {name: _numbers(body, where, f"probabilities.{name}") for name, where in inputs.probabilities.items()}
        for place, event in enumerate(events):
            event["probabilities"] = given = {name: values[place] for name, values in classes.items()}
            known = {name: p for name, p in given.items() if p is not None}
            if inputs.prediction is None and known:
                event["prediction"] = max(known, key=known.__getitem__)
    elif inputs.prediction is None and inputs.score is None:
        try:
            values = body.column(FIRST)
        except EventError as error:
            raise bad(f"{error}: the spec's inputs has neither prediction, score nor probabilities") from None
        for event, value in zip(events, values or (), strict=True):
            event["prediction"] = value
    return events


def encoded(event: Event) -> bytes:
    """The event as JSON."""
    try:
        return msgspec.json.encode(event)
    except (OverflowError, UnicodeError):
        # As in any event, whole numbers may have more than 64 bits, and lone surrogates are replaced.
        return json.dumps(clean(event)).encode()


def version_of(spec: ModelSpec, said: str | None) -> str:
    """The ``model_version`` of events: that of the spec, else the one that the server ``said``, else only the model's name."""
    if spec.inputs.version is not None:
        return spec.inputs.version
    return f"{spec.model}:{said}" if said else spec.model


def _ids(inputs: InputsSpec, id_: str, body: Body) -> list[str]:
    if inputs.request_id is not None:
        values = _needed(body, inputs.request_id, "request_id")
        return [checked_id(v if isinstance(v, str) else None if v is None else str(v), "request_id") for v in values]
    if body.count == 1:
        return [id_]
    if len(f"{id_}-{body.count - 1}") > MAX_ID:
        raise bad(f"the id and the number of a row have more than {MAX_ID} characters")
    return [f"{id_}-{row}" for row in range(body.count)]


def _column(body: Body, where: str, member: str) -> list[Any] | None:
    at = address(where)
    assert at is not None, "the reader of specs has seen to it"
    try:
        return body.column(at)
    except EventError as error:
        raise bad(f"inputs.{member}: {error}") from None


def _needed(body: Body, where: str, member: str) -> list[Any]:
    found = _column(body, where, member)
    if found is None:
        raise bad(f"inputs.{member}: there is no {where}")
    return found


def _numbers(body: Body, where: str, member: str) -> list[Any]:
    """Numbers, None where one is missing."""
    found = _needed(body, where, member)
    for value in found:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise bad(f"inputs.{member}: {where} is {str(value)[:40]!r}, which is no number")
    return found
