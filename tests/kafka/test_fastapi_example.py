"""The example's whole way: HTTP requests to a real service, a real Kafka, a real worker, the window's record; labels later."""

from __future__ import annotations

import difflib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from msgspec.structs import replace

from support.cluster import Cluster
from support.deployment import ROOT
from support.servers import wait_for
from support.topics import read
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import ModelSpec
from tidegauge.stream.broker import free_port

EXAMPLE = ROOT / "examples/fastapi"
SPEC = ModelSpec("churn", task="binary", windows=("10s",), grace=1.0, publish_interval=1.0)


def post(url, body=None):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers, json.loads(answer.read() or b"null")


def test_fewer_than_ten_lines_are_added():
    before, after = ((EXAMPLE / name).read_text().splitlines() for name in ("recipe.py", "service.py"))
    changes = [line for line in difflib.ndiff(before, after) if line[:1] in "+-" and '"""' not in line]
    assert [line for line in changes if line[0] == "-"] == []
    code = [line for line in changes if line[1:].strip()]
    assert 0 < len(code) < 10
    assert all(line.endswith("# added") for line in code)


def test_from_a_request_to_the_record_of_its_window(broker, tmp_path):
    cluster = Cluster(broker, "fastapi", tmp_path)
    cluster.apply(ModelRecord("churn", replace(SPEC)))
    cluster.start()
    port = free_port()
    environment = os.environ | {
        "TIDEGAUGE_BOOTSTRAP": broker.bootstrap, "TIDEGAUGE_SPOOL": str(tmp_path / "spool"),
        "TIDEGAUGE_PREDICTIONS_TOPIC": cluster.settings.topic("predictions"),
        "TIDEGAUGE_LABELS_TOPIC": cluster.settings.topic("labels"),
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--app-dir",
        str(EXAMPLE),
        "service:app",
        "--port",
        str(port),
        "--no-access-log",
    ]
    with (tmp_path / "service.log").open("wb") as out:
        service = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        address = f"http://127.0.0.1:{port}"

        def answers():
            try:
                return bool(post(f"{address}/outcomes/none?churned=0"))
            except OSError:
                return False

        wait_for(answers, 60, "the service")
        made = []
        for number in range(60):
            headers, said = post(f"{address}/predict", {"age": number, "plan": "basic" if number % 2 else "plus"})
            assert headers["x-request-id"] == said["request_id"]
            made.append(said)
        broken = 0
        for _ in range(3):
            try:
                post(f"{address}/predict", {"plan": "basic"})
            except urllib.error.HTTPError as error:
                broken += error.code == 500
        assert broken == 3
        cluster.wait_for_predictions(63, "10s")
        # Labels come when the windows are long closed; every fourth outcome is not as predicted.
        for number, said in enumerate(made):
            post(f"{address}/outcomes/{said['request_id']}?churned={said['prediction'] ^ (number % 4 == 0)}")

        def whole():
            records = [r for r in cluster.metrics().values() if "kind" not in r and not r["segment"]]
            return records if sum(r["labels"] for r in records) == 60 else None

        records = wait_for(whole, 90, "the labels")
    finally:
        service.terminate()
        service.wait(20)
        cluster.stop()
    assert {r["model_version"] for r in records} == {"churn:3"}
    assert sum(r["predictions"] for r in records) == 63
    assert sum(r["predictions"] * r["system"]["error_ratio"] for r in records) == pytest.approx(3, rel=1e-4)
    assert sum(r["labels"] * r["performance"]["accuracy"] for r in records if r["labels"]) == pytest.approx(45, rel=1e-4)
    ages = [r["data"]["features"]["age"] for r in records]
    assert sum(age["count"] * age["missing_ratio"] for age in ages) == pytest.approx(3, rel=1e-4)
    assert all(r["system"]["latency_ms"]["p50"] > 0 for r in records)
    assert len(read(broker, cluster.settings.topic("predictions"))) == 63
    # uvicorn ends in order, and then by the signal that it was sent.
    assert service.returncode in (0, -signal.SIGTERM)
