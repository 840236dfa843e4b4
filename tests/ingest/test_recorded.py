"""What KServe's and MLServer's own code sent and answered becomes the events it was about. `tests/fixtures/inference/` has the
messages and the scripts that recorded them; the long tests run these again."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from support.deployment import ROOT
from support.events import START
from support.inference import arrived, events, exchanges, joined
from support.schemas import mistakes
from tidegauge.ingest import cloud_events
from tidegauge.spec import InputsSpec

DIRECTORY = ROOT / "tests/fixtures/inference"
ROWS = [[41.0, 0.5], [23.0, 1.5]]
SCORES = [1 / (1 + np.exp(-(age / 50 - visits))) for age, visits in ROWS]
FEATURES = {"age": "[0]", "visits": "[1]"}
INPUTS = {
    "V1": InputsSpec(server="churn-isvc", features=FEATURES, prediction="[0]", score="[1]"),
    "V2": InputsSpec(server="churn-isvc", features=FEATURES, prediction="label", score="score"),
    "mlserver": InputsSpec(features=FEATURES, prediction="label", probabilities={"0": "proba[0]", "1": "proba[1]"}),
}


def recorded(name: str) -> list[Any]:
    lines = [json.loads(line) for line in (DIRECTORY / f"{name}.jsonl").read_text().splitlines()]
    return [pytest.param(line, id=line["what"]) for line in lines]


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


@pytest.mark.parametrize("line", recorded("kserve"))
def test_kserve(line: dict[str, Any]) -> None:
    found = exchange(line, INPUTS["V1" if line["what"].startswith("V1") else "V2"])
    assert [event["features"] for event in found] == [dict(zip(FEATURES, row, strict=True)) for row in ROWS]
    assert [event["prediction"] for event in found] == [1, 0]
    assert [event["score"] for event in found] == pytest.approx(SCORES, rel=1e-6)
    assert {(event["model"], event["ts"], event["latency_ms"]) for event in found} == {("churn", START, 12.5)}
    assert [event["request_id"] for event in found] == ["a-0", "a-1"]
    assert all(mistakes("prediction", event) == [] for event in found)


@pytest.mark.parametrize("line", recorded("mlserver"))
def test_mlserver(line: dict[str, Any]) -> None:
    named = line["what"] == "V2, a tensor a column"
    inputs = InputsSpec(prediction="label", score="proba[1]") if named else INPUTS["mlserver"]
    found = exchange(line, inputs)
    assert [event["features"] for event in found] == [dict(zip(FEATURES, row, strict=True)) for row in ROWS]
    assert [event["prediction"] for event in found] == [1, 0]
    scores = [event["score"] if named else event["probabilities"]["1"] for event in found]
    assert scores == pytest.approx(SCORES, rel=1e-12)
    assert {event["model_version"] for event in found} == {"churn:v3"}
    assert all(mistakes("prediction", event) == [] for event in found)
