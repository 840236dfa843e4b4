"""Real model servers: what is recorded of them is what they say today, and a real MLServer's topics are read as they are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from support.cluster import Cluster
from support.deployment import ROOT
from support.ingest_command import Ingest
from support.servers import ask, wait_for
from tidegauge.stream import models_topic
from tidegauge.stream.broker import free_port
from tidegauge.stream.processes import die_with_parent, end

pytestmark = pytest.mark.long
DIRECTORY = ROOT / "tests/fixtures/inference"
SPEC = """\
model: churn
task: binary
inputs: {features: [age, visits], prediction: label, score: "proba[1]"}
"""


def python(name):
    found = ROOT / f".venv-{name}/bin/python"
    if not found.exists():
        pytest.skip(f"make .venv-{name}/.ready brings it")
    return found


@pytest.mark.parametrize("name", ["kserve", "mlserver"])
def test_what_is_recorded_is_what_the_server_says(name):
    done = subprocess.run([python(name), DIRECTORY / f"record_{name}.py"], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == (DIRECTORY / f"{name}.jsonl").read_text().splitlines()


@contextlib.contextmanager
def mlserver(directory: Path, bootstrap: str, topic: str):
    """A real MLServer that reads requests from ``topic``-input and answers in ``topic``-output; its address by HTTP."""
    port = free_port()
    settings = {
        "http_port": port, "grpc_port": free_port(), "metrics_port": free_port(), "parallel_workers": 0,
        "kafka_enabled": True, "kafka_servers": bootstrap, "kafka_topic_input": f"{topic}-input",
        "kafka_topic_output": f"{topic}-output",
    }  # fmt: skip
    directory.mkdir()
    (directory / "settings.json").write_text(json.dumps(settings))
    model = {"name": "churn", "implementation": "churn_runtime.Churn", "parameters": {"version": "v3"}}
    (directory / "model-settings.json").write_text(json.dumps(model))
    environment = os.environ | {"PYTHONPATH": str(DIRECTORY)}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [python("mlserver").with_name("mlserver"), "start", str(directory)], stdout=log, stderr=log, env=environment,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        ready = f"{url}/v2/models/churn/ready"
        wait_for(lambda: answers(ready) and b"Reading messages" in (directory / "log").read_bytes(), 60, "MLServer")
        yield url
    finally:
        end(process, 20)


def answers(url):
    with contextlib.suppress(OSError):
        ask(url)
        return True
    return False


def test_mlservers_topics_become_predictions(broker, tmp_path):
    """Batches of one to four rows; one in ten fails in the model, which answers nothing."""
    cluster = Cluster(broker, f"mlserver-{random.randrange(10**6)}", tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/churn.yaml").write_text(SPEC)
    topic, rng = f"{cluster.name}-mlserver", np.random.default_rng(3)
    batches = {f"id{number}": rng.uniform([18, 0], [90, 2], (1 + number % 4, 2)) for number in range(50)}
    failing = {id_ for number, id_ in enumerate(batches) if number % 10 == 9}
    for id_ in failing:
        batches[id_] *= -1

    async def ask_by_kafka():
        for name in ("input", "output"):
            await models_topic.ensure_topic(cluster.settings, f"{topic}-{name}")
        with mlserver(tmp_path / "server", cluster.settings.bootstrap, topic) as url:
            async with AIOKafkaProducer(**cluster.settings.client()) as producer:
                for id_, rows in batches.items():
                    await producer.send_and_wait(
                        f"{topic}-input", body(rows), key=id_.encode(), headers=[("mlserver-model", b"churn")]
                    )
            await asyncio.to_thread(
                wait_for, lambda: len(cluster.read(f"{topic}-output")) == len(batches) - len(failing), 60, "MLServer's answers"
            )
            return {
                id_: ask(f"{url}/v2/models/churn/infer", json.loads(body(batches[id_]))) for id_ in batches.keys() - failing
            }

    asyncio.run(models_topic.ensure_topics(cluster.settings))
    told = asyncio.run(ask_by_kafka())
    wanted = {
        (id_ if len(rows) == 1 else f"{id_}-{row}"): (id_, row) for id_, rows in batches.items() for row in range(len(rows))
    }
    flags = ("--models", tmp_path / "models", "--from-topic", f"{topic}-input,{topic}-output", "--timeout", "1s")
    with Ingest(cluster, *flags):
        wait_for(lambda: len(cluster.read("predictions")) == len(wanted), 60, "the events")
    for record in cluster.read("predictions"):
        event = json.loads(record.value)
        id_, row = wanted.pop(event["request_id"])
        assert list(event["features"].values()) == batches[id_][row].tolist()
        if id_ in failing:
            assert (event["error"], event["model_version"]) == ("no response", "churn:v3")
            continue
        label, proba = (tensor["data"] for tensor in told[id_]["outputs"])
        assert (event["prediction"], event["score"]) == (label[row], proba[2 * row + 1])
        assert event["model_version"] == "churn:v3"
        assert 0 <= event["latency_ms"] < 60_000
    assert wanted == {}


def body(rows):
    return json.dumps(
        {"inputs": [{"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}]}
    ).encode()


def test_what_bentoml_wrote_is_sent_and_counted_once(broker, tmp_path):
    cluster = Cluster(broker, f"bentoml-{random.randrange(10**6)}", tmp_path)
    done = subprocess.run(
        [python("bentoml"), DIRECTORY / "record_bentoml.py", tmp_path / "monitoring"],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ids = [line.split()[0] for line in done.stdout.splitlines()]
    command = Ingest(cluster, "--bentoml", tmp_path / "monitoring/churn").command
    for runs in (1, 2):
        assert subprocess.run(command, timeout=60).returncode == 0
        found = [json.loads(record.value) for record in cluster.read("predictions")]
        assert sorted(event["request_id"] for event in found) == sorted([ids[0], f"{ids[0]}-1", ids[1]] * runs)
    assert all(abs(event["ts"] - time.time()) < 3600 for event in found)
