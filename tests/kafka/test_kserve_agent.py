"""KServe's own agent before a real KServe model server: what its payload logger sends becomes prediction events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from support.cluster import Cluster
from support.deployment import ROOT
from support.go_programs import go_program
from support.ingest_command import Ingest
from support.schemas import mistakes
from support.servers import ask, wait_for
from tidegauge.stream import models_topic
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent, end

# The first run builds the agent from its source, with minutes of processor time.
pytestmark = [pytest.mark.timeout(1200), pytest.mark.long]
SPEC = """\
model: churn
task: binary
inputs: {{server: churn-isvc, version: "churn:3", features: [age, visits], prediction: "{prediction}", score: "{score}"}}
"""
ROWS = {"one": [[41.0, 0.5]], "two": [[41.0, 0.5], [23.0, 1.5]], "three": [[70.0, 0.25], [18.0, 3.0], [41.0, 1.0]]}


@contextlib.contextmanager
def running(log, command, patience):
    """A process that is killed if it has not ended ``patience`` seconds after it was asked to."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, command)), stdout=output, stderr=output, env=os.environ | {"SERVING_READINESS_PROBE": ""},
            preexec_fn=die_with_parent(signal.SIGTERM),
        )  # fmt: skip
    try:
        yield
    finally:
        end(process, patience)


@contextlib.contextmanager
def agent(directory, target):
    """KServe's model server with KServe's agent before it, which logs to ``target``; the agent's address."""
    agent = go_program("github.com/kserve/kserve/cmd/agent", "v0.15.2")
    python = ROOT / ".venv-kserve/bin/python"
    if not python.exists():
        pytest.skip("make .venv-kserve/.ready brings it")
    port, served, grpc = free_port(), free_port(), free_port()
    server = [python, ROOT / "tests/fixtures/inference/record_kserve.py", "--http_port", served, "--grpc_port", grpc]
    logger = [
        agent, "--port", port, "--component-port", served, "--log-url", target, "--log-mode", "all", "--component", "predictor",
        "--inference-service", "churn-isvc", "--namespace", "prod", "--endpoint", "default",
        "--metadata-headers", "X-Tenant", "--metadata-annotations", "team=growth",
    ]  # fmt: skip
    # Asked to end the agent serves on for half a minute.
    with running(directory / "server.log", [*server, "--workers", "1"], 20), running(directory / "agent.log", logger, 1):
        wait_for(lambda: status(f"http://127.0.0.1:{port}/v2/models/churn/ready") == 200, 120, "KServe")
        yield f"http://127.0.0.1:{port}"


def status(url, body=None, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def v1(rows):
    return "/v1/models/churn:predict", {"instances": rows}


def v2(rows):
    flat = [value for row in rows for value in row]
    tensor = {"name": "input-0", "shape": [len(rows), 2], "datatype": "FP32", "data": flat}
    return "/v2/models/churn/infer", {"id": "the body's own", "inputs": [tensor]}


def scores_of(answer):
    if "predictions" in answer:
        return [(label, score) for label, score in answer["predictions"]]
    by_name = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
    return list(zip(by_name["label"], by_name["score"], strict=True))


@pytest.mark.parametrize(
    ("asked", "addresses"), [(v1, {"prediction": "[0]", "score": "[1]"}), (v2, {"prediction": "label", "score": "score"})]
)
def test_what_the_client_was_told_is_what_is_counted(broker, tmp_path, asked, addresses):
    """Batches of one to three rows, then a request that the model refuses, of which KServe logs no response."""
    cluster = Cluster(broker, f"agent-{random.randrange(10**6)}", tmp_path)
    asyncio.run(models_topic.ensure_topics(cluster.settings))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/churn.yaml").write_text(SPEC.format(**addresses))
    wanted = {}
    with (
        Ingest(cluster, "--models", tmp_path / "models", "--timeout", "3s") as ingest,
        agent(tmp_path, f"http://127.0.0.1:{ingest.port}/") as url,
    ):
        for id_, rows in ROWS.items():
            path, body = asked(rows)
            headers = {"Content-Type": "application/json", "Ce-Id": id_, "X-Tenant": "a"}
            with urllib.request.urlopen(urllib.request.Request(url + path, json.dumps(body).encode(), headers)) as answer:
                told = scores_of(json.load(answer))
            for place, (row, (label, score)) in enumerate(zip(rows, told, strict=True)):
                wanted[id_ if len(rows) == 1 else f"{id_}-{place}"] = (row, label, score)
        path, body = asked(ROWS["one"])
        ask(url + path, body)
        # A third value, which the model cannot multiply: KServe answers 500, and logs no response.
        path, body = asked([[41.0, 0.5]])
        refused = json.dumps(body).replace("0.5]", '"half"]').encode()
        assert status(url + path, refused, **{"Content-Type": "application/json", "Ce-Id": "refused"}) >= 400
        wait_for(lambda: len(cluster.read("predictions")) == len(wanted) + 2, 60, "the events")
        assert ingest.number("tidegauge_ingest_http_requests_total", code="200") == 2 * (len(ROWS) + 1) + 1
    events = {event["request_id"]: event for event in (json.loads(record.value) for record in cluster.read("predictions"))}
    assert all(mistakes("prediction", event) == [] for event in events.values())
    assert events.pop("refused")["error"] == "no response"
    for id_, (row, label, score) in wanted.items():
        event = events.pop(id_)
        assert list(event["features"].values()) == row
        assert (event["prediction"], event["score"]) == (label, score)
        assert event["model_version"] == "churn:3"
        assert "error" not in event
        assert 0 <= event["latency_ms"] < 20_000
    # The request whose client gave no id has one of KServe's making.
    ((id_, event),) = events.items()
    assert len(id_) == 36
    assert list(event["features"].values()) == ROWS["one"][0]
