"""What KServe's, MLServer's and BentoML's own code wrote becomes the events it was about. `tests/fixtures/inference/` has the
messages and the scripts that recorded them; the long tests run these again."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.deployment import ROOT
from support.events import START
from support.framed import framed
from support.inference import arrived, events, exchanges, joined
from support.schemas import mistakes
from tidegauge.errors import EventError
from tidegauge.ingest import bodies, cloud_events
from tidegauge.ingest.bento_files import BentoMonitor
from tidegauge.ingest.ingest_process import specs_by_server
from tidegauge.ingest.messages import Message
from tidegauge.models.registry import ModelRecord, registry_of
from tidegauge.spec import InputsSpec, ModelSpec

DIRECTORY = ROOT / "tests/fixtures/inference"
ROWS = [[41.0, 0.5], [23.0, 1.5]]
SCORES = [1 / (1 + np.exp(-(age / 50 - visits))) for age, visits in ROWS]
FEATURES = {"age": "[0]", "visits": "[1]"}
INPUTS = {
    "V1": InputsSpec(server="churn-isvc", features=FEATURES, prediction="[0]", score="[1]"),
    "V2": InputsSpec(server="churn-isvc", features=FEATURES, prediction="label", score="score"),
    "mlserver": InputsSpec(features=FEATURES, prediction="label", probabilities={"0": "proba[0]", "1": "proba[1]"}),
}


def recorded(name: str, only: str | None = None) -> list[Any]:
    """The exchanges of a file; or the lines about something else that begin with ``only``."""
    lines = [json.loads(line) for line in (DIRECTORY / f"{name}.jsonl").read_text().splitlines()]
    wanted = [line for line in lines if ("response" in line if only is None else line["what"].startswith(only))]
    return [pytest.param(line, id=line["what"]) for line in wanted]


def exchange(line: dict[str, Any], inputs: InputsSpec) -> list[dict[str, Any]]:
    """The events of recorded messages: those of a gRPC call as Seldon puts them into topics, others by HTTP."""
    if isinstance(line["request"], str):
        asked, answered = (base64.b64decode(line[kind]) for kind in ("request", "response"))
        return joined(asked, answered, inputs, protobuf=True)
    held, outcome = exchanges(inputs), None
    for place, kind in enumerate(("request", "response")):
        given = line[kind]
        (message,) = cloud_events.from_http(given["headers"], base64.b64decode(given["body"]))
        assert message.kind == kind
        outcome = held.take(arrived(message, place))
    return events(outcome)


@pytest.mark.parametrize("line", recorded("kserve", "every type"))
def test_kserves_tensors_of_every_type(line: dict[str, Any]) -> None:
    is_protobuf = "protobuf" in line["what"]
    body = bodies.read(Message("a", "request", base64.b64decode(line["body"]), protobuf=is_protobuf))
    assert body.named() == [dict(zip(line["values"], row, strict=True)) for row in zip(*line["values"].values(), strict=True)]


@pytest.mark.parametrize("line", recorded("kserve"))
def test_what_kserve_wrote_becomes_its_events(line: dict[str, Any]) -> None:
    found = exchange(line, INPUTS["V1" if line["what"].startswith("V1") else "V2"])
    assert [event["features"] for event in found] == [dict(zip(FEATURES, row, strict=True)) for row in ROWS]
    assert [event["prediction"] for event in found] == [1, 0]
    assert [event["score"] for event in found] == pytest.approx(SCORES, rel=1e-6)
    assert {(event["model"], event["ts"], event["latency_ms"]) for event in found} == {("churn", START, 12.5)}
    assert [event["request_id"] for event in found] == ["a-0", "a-1"]
    assert all(mistakes("prediction", event) == [] for event in found)


@pytest.mark.parametrize("line", recorded("kserve", "protobuf"))
@pytest.mark.parametrize("indexes", [b"\0", b"\2\0", b"\4\2\2"], ids=["short", "first", "nested"])
def test_messages_in_a_schema_registrys_frame_are_the_same(line: dict[str, Any], indexes: bytes) -> None:
    """As Seldon Core 2 writes them where it has a schema registry."""
    bare = exchange(line, INPUTS["V2"])
    pair = {kind: framed(17, indexes + base64.b64decode(line[kind])) for kind in ("request", "response")}
    assert exchange({kind: base64.b64encode(body).decode() for kind, body in pair.items()}, INPUTS["V2"]) == bare


@pytest.mark.parametrize("body", [b"\0\0\0\0\1", b"\0\0\0\0\1\xff\xff", b"\0\0\0\0\1\0\xff"])
def test_a_frame_around_nothing_is_refused(body: bytes) -> None:
    with pytest.raises(EventError, match="no protobuf message of a request"):
        bodies.read(Message("a", "request", body, protobuf=True))


@pytest.mark.parametrize("line", recorded("mlserver"))
def test_what_mlserver_wrote_becomes_its_events(line: dict[str, Any]) -> None:
    named = line["what"] == "V2, a tensor a column"
    inputs = InputsSpec(prediction="label", score="proba[1]") if named else INPUTS["mlserver"]
    found = exchange(line, inputs)
    assert [event["features"] for event in found] == [dict(zip(FEATURES, row, strict=True)) for row in ROWS]
    assert [event["prediction"] for event in found] == [1, 0]
    scores = [event["score"] if named else event["probabilities"]["1"] for event in found]
    assert scores == pytest.approx(SCORES, rel=1e-12)
    assert {event["model_version"] for event in found} == {"churn:v3"}
    assert all(mistakes("prediction", event) == [] for event in found)


def bento_monitor(tmp_path: Path, inputs: InputsSpec | None = None) -> BentoMonitor:
    """What BentoML wrote, in a directory of the monitor's name."""
    shutil.copytree(DIRECTORY / "bentoml", tmp_path / "churn")
    registry = registry_of([ModelRecord("churn", ModelSpec("churn", inputs=inputs or InputsSpec()))])
    return BentoMonitor(tmp_path / "churn", specs_by_server(registry))


def test_what_bentoml_wrote_becomes_its_events(tmp_path: Path) -> None:
    answers = [line.split(maxsplit=1) for line in (DIRECTORY / "bentoml/answers.txt").read_text().splitlines()]
    wanted = [
        (id_ if row == 0 else f"{id_}-{row}", label) for id_, text in answers for row, label in enumerate(json.loads(text))
    ]
    monitor = bento_monitor(tmp_path, InputsSpec(prediction="label", score="p"))
    records = list(monitor.new_lines())
    found = [json.loads(value) for _, _, value in records]
    assert [(event["request_id"], event["prediction"]) for event in found] == wanted
    plans = ["b", "a", "c"]
    rows = [*ROWS, [60.0, 0.25]]
    assert [event["features"] for event in found] == [
        {"age": age, "visits": visits, "plan": plan} for (age, visits), plan in zip(rows, plans, strict=True)
    ]
    assert [event["score"] for event in found[:2]] == pytest.approx(SCORES, rel=1e-12)
    assert [(topic, key.decode()) for topic, key, _ in records] == [("predictions", id_) for id_, _ in wanted]
    assert all(mistakes("prediction", event) == [] for event in found)


def test_bentomls_files_are_followed_through_rotations_line_by_line(tmp_path: Path) -> None:
    monitor = bento_monitor(tmp_path)
    data = tmp_path / "churn/data/data.1.log"
    lines = data.read_bytes().splitlines(keepends=True)
    data.write_bytes(lines[0] + lines[1][:20])
    assert len(list(monitor.new_lines())) == 1
    with data.open("ab") as file:
        file.write(lines[1][20:])
    ((_, key, _),) = monitor.new_lines()
    assert key.endswith(b"-1")
    data.rename(data.with_name("data.1.log.2025-09-27"))
    assert list(monitor.new_lines()) == []
    outside = json.dumps(json.loads(lines[2]) | {"request_id": "None"}).encode()
    zeros = json.dumps(json.loads(lines[2]) | {"request_id": "17"}).encode()
    data.write_bytes(b"no line\n" + outside + b"\n" + zeros + b"\n")
    assert [key for _, key, _ in monitor.new_lines()] == [b"0000000000000011"]
    assert monitor.refused == 2


def test_a_target_of_bentoml_is_a_label(tmp_path: Path) -> None:
    monitor = bento_monitor(tmp_path)
    schema = tmp_path / "churn/schema/schema.1.log"
    schema.write_text(schema.read_text().replace('"label", "role": "prediction"', '"label", "role": "target"'))
    found = [(topic, json.loads(value)) for topic, _, value in monitor.new_lines()]
    labels = [event for topic, event in found if topic == "labels"]
    assert [event["label"] for event in labels] == [1, 0, 1]
    assert all(mistakes("label", event) == [] for event in labels)
    assert [event["prediction"] for topic, event in found if topic == "predictions"][:2] == pytest.approx(SCORES)
