"""CloudEvents from HTTP and Kafka, in every mode, as the same messages."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from support.events import START
from support.inference import kserve, v1
from tidegauge.errors import EventError
from tidegauge.ingest import cloud_events
from tidegauge.ingest.messages import Message

BODY = v1("instances", [{"age": 41}])
MESSAGE = Message("a", "request", BODY, "churn", START, "predictor", "default")


def structured(**changes: Any) -> dict[str, Any]:
    headers = kserve("request", "a", START)
    attributes = {name[3:].lower(): value for name, value in headers.items() if name.startswith("Ce-")}
    return attributes | {"datacontenttype": "application/json", "data": json.loads(BODY)} | changes


def test_binary_mode_is_read() -> None:
    assert cloud_events.from_http(kserve("request", "a", START), BODY) == [MESSAGE]
    assert cloud_events.from_http(kserve("response", "b", START), BODY)[0].kind == "response"


@pytest.mark.parametrize("content_type", ["application/cloudevents+json", "Application/CloudEvents+json; charset=UTF-8"])
def test_structured_mode_is_read(content_type: str) -> None:
    (found,) = cloud_events.from_http({"Content-Type": content_type}, json.dumps(structured()).encode())
    assert json.loads(found.body) == json.loads(BODY)
    assert (found.id, found.server, found.time) == ("a", "churn", START)


def test_structured_data_of_any_kind_is_the_body() -> None:
    without = {name: value for name, value in structured().items() if name != "data"}
    for data in ({"data": BODY.decode()}, {"data_base64": base64.b64encode(BODY).decode()}):
        found = cloud_events.from_http({"Content-Type": cloud_events.STRUCTURED}, json.dumps(without | data).encode())
        assert found == [MESSAGE]


def test_a_batch_is_read_in_order() -> None:
    body = json.dumps([structured(id="x"), structured(id="y")]).encode()
    assert [m.id for m in cloud_events.from_http({"Content-Type": cloud_events.BATCH}, body)] == ["x", "y"]


def test_records_in_kafka_are_read_like_http_requests() -> None:
    for prefix in ("ce_", "ce-", "Ce-"):
        headers = [(prefix + n[3:].lower(), v.encode()) for n, v in kserve("request", "a", START).items() if n[:3] == "Ce-"]
        assert cloud_events.from_kafka([*headers, ("content-type", b"application/json")], BODY) == MESSAGE
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    found = cloud_events.from_kafka(headers, json.dumps(structured(data=BODY.decode())).encode())
    assert found == MESSAGE
    assert cloud_events.from_kafka([("other", b"x")], BODY) is None


@pytest.mark.parametrize("time", [None, START, START + 0.123457])
def test_what_is_written_to_kafka_is_read_from_there(time: float | None) -> None:
    message = Message("ü", "response", BODY, None, time)
    headers = [(name, text.encode()) for name, text in cloud_events.to_kafka(message).items()]
    assert cloud_events.from_kafka(headers, BODY) == message


@pytest.mark.parametrize(
    ("headers", "body", "told"),
    [
        ({}, BODY, "neither headers ce-id, ce-type"),
        (kserve("request", "", START), BODY, "header ce-id must have 1 to 256 characters"),
        (kserve("request", "a" * 257, START), BODY, "header ce-id must have 1 to 256 characters"),
        (kserve("explanation", "a", START), BODY, "header ce-type 'org.kubeflow.serving.inference.explanation' is of neither"),
        (kserve("request", "a", START) | {"Ce-Time": "yesterday"}, BODY, "header ce-time: ts 'yesterday' is neither"),
        ({"Content-Type": cloud_events.STRUCTURED}, b"{", "cannot be read as JSON"),
        ({"Content-Type": cloud_events.STRUCTURED}, b"[]", "a CloudEvent is an object"),
        ({"Content-Type": cloud_events.STRUCTURED}, json.dumps(structured(id=3)).encode(), "attribute id must have"),
        ({"Content-Type": cloud_events.STRUCTURED}, json.dumps(structured(data_base64="?")).encode(), "no Base64"),
        (
            {"Content-Type": cloud_events.BATCH},
            json.dumps([structured(), structured(type="x")]).encode(),
            "event 1 of the batch",
        ),
    ],
)
def test_what_is_no_message_says_what_and_where(headers: dict[str, str], body: bytes, told: str) -> None:
    with pytest.raises(EventError) as error:
        cloud_events.from_http(headers, body)
    assert told in str(error.value)
