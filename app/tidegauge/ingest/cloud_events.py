"""CloudEvents 1.0 of model servers, from HTTP and from Kafka, in binary, structured and batched mode.

KServe's payload logger and Seldon's give a request and its response one ``id``; the ``type`` says which of the two it is. See
https://github.com/cloudevents/spec, http-protocol-binding and kafka-protocol-binding. Headers are taken as they are: the
Go SDK, which KServe's logger uses, does not percent-encode them as the binding asks for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from tidegauge.ingest.messages import Kind, Message, bad, checked_id, is_text, moment

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
REQUEST, RESPONSE = "inference.request", "inference.response"
"""How the types of KServe (``org.kubeflow.serving.``) and of Seldon (``io.seldon.serving.``) end."""
KSERVE = "org.kubeflow.serving."
_decode = msgspec.json.Decoder().decode


def from_http(headers: Mapping[str, str], body: bytes) -> list[Message]:
    """The messages in an HTTP request. Raises EventError, which says what is wrong and where."""
    given = {name.lower(): value for name, value in headers.items()}
    kind = _media_type(given.get("content-type", ""))
    if kind == BATCH:
        events = _json(body)
        if not isinstance(events, list):
            raise bad("a batch of CloudEvents is a list")
        return [_structured(event, f"event {place} of the batch: ") for place, event in enumerate(events)]
    if kind == STRUCTURED:
        return [_structured(_json(body), "")]
    attributes = {name[3:]: value for name, value in given.items() if name[:3] == "ce-"}
    if not attributes:
        raise bad("no CloudEvent: neither headers ce-id, ce-type … nor content-type application/cloudevents+json")
    return [_message(attributes, body, "header ce-")]


def from_kafka(headers: Iterable[tuple[str, bytes | None]], value: bytes) -> Message | None:
    """The message in a record; None where the record is no CloudEvent. Raises EventError."""
    given = {name.lower(): (content or b"").decode("utf-8", "replace") for name, content in headers}
    if _media_type(given.get("content-type", "")) == STRUCTURED:
        return _structured(_json(value), "")
    # The binding says ce_; servers that hand their HTTP headers on say ce-.
    attributes = {name[3:]: text for name, text in given.items() if name[:3] in ("ce_", "ce-")}
    return _message(attributes, value, "header ce_") if "type" in attributes else None


def to_kafka(message: Message) -> dict[str, str]:
    """The headers with which ``from_kafka`` reads ``message`` from a record whose value is its body."""
    given = {
        "specversion": "1.0", "id": message.id, "type": f"{KSERVE}inference.{message.kind}", "source": "tidegauge:ingest",
        "inferenceservicename": message.server, "component": message.component, "endpoint": message.endpoint,
        "time": None if message.time is None else datetime.fromtimestamp(message.time, UTC).isoformat(),
    }  # fmt: skip
    return {f"ce_{name}": value for name, value in given.items() if value}


def _structured(event: Any, where: str) -> Message:
    if not isinstance(event, dict):
        raise bad(f"{where}a CloudEvent is an object")
    if "data_base64" in event:
        try:
            body = base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise bad(f"{where}data_base64 is no Base64: {error}") from None
    elif "data" in event:
        data = event["data"]
        body = data.encode() if isinstance(data, str) else msgspec.json.encode(data)
    else:
        raise bad(f"{where}there is neither data nor data_base64")
    return _message(event, body, f"{where}attribute ")


def _message(attributes: Mapping[str, Any], body: bytes, where: str) -> Message:
    kind = _kind(attributes.get("type"), f"{where}type")
    names = {}
    for name in ("modelid", "inferenceservicename", "component", "endpoint"):
        value = attributes.get(name)
        if value is not None and not (isinstance(value, str) and is_text(value)):
            raise bad(f"{where}{name} is no text")
        names[name] = value or None
    return Message(
        checked_id(attributes.get("id"), f"{where}id"),
        kind,
        body,
        names["modelid"] or names["inferenceservicename"],
        moment(attributes.get("time"), f"{where}time"),
        names["component"] or "",
        names["endpoint"] or "",
    )


def _kind(given: Any, where: str) -> Kind:
    if isinstance(given, str):
        if given.endswith(REQUEST):
            return "request"
        if given.endswith(RESPONSE):
            return "response"
    raise bad(f"{where} {str(given)[:100]!r} is of neither a request nor a response; KServe's end in {REQUEST} and {RESPONSE}")


def _json(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise bad(f"the CloudEvent cannot be read as JSON: {error}") from None


def _media_type(given: str) -> str:
    return given.partition(";")[0].strip().lower()
