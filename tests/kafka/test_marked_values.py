"""Values of features that are declared personal are searched for in all that worker, console, notify, history and reports make
of them: topics, state on disk, logs, pages, spans, what is sent to other servers."""

from __future__ import annotations

import asyncio
import json
import random
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.bridges import Bridge
from support.cluster import TOPICS, Cluster
from support.console_process import Console
from support.events import START, prediction
from support.http_receiver import Answer, HttpReceiver
from support.servers import wait_for
from tidegauge.client import Client
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import Condition, FeatureSpec, ModelSpec, MonitorSpec
from tidegauge.stream.broker import Broker
from tidegauge.stream.settings import INTERNAL

PERSONAL: dict[str, Any] = {
    "email": "jane.doe@example.org", "phone": "+44 20 7946 0123", "account": 447911987654, "salary": 98765.4321,
}  # fmt: skip
"""Of these the first and the third are hashed, the others dropped."""
PLAIN: dict[str, Any] = {"town": "visible-on-sea", "distance": 76543.2109}
"""Features that are declared nothing: to be found, as proof that the search finds."""
REFUSED = 10
"""Events that are refused."""
PERIOD = ["--from", "2025-09-27T00:00:00Z", "--to", "2025-09-27T00:10:00Z"]
SPEC = ModelSpec(
    "churn",
    task="binary",
    windows=("1m",),
    grace=1.0,
    features={
        "email": FeatureSpec(pii="hash"), "phone": FeatureSpec(pii="drop"), "account": FeatureSpec(type="number", pii="hash"),
        "salary": FeatureSpec(type="number", pii="drop"),
    },
    monitors=(MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), min_count=20),),
)  # fmt: skip


def forms(value: Any) -> set[bytes]:
    """The bytes that a value may be kept as: its text, and numbers as doubles and as integers of eight bytes."""
    found = {json.dumps(value).strip('"').encode()}
    if not isinstance(value, str):
        found |= {struct.pack("<d", value), struct.pack(">d", value)}
    if isinstance(value, int):
        found |= {struct.pack("<q", value), struct.pack(">q", value)}
    return found


def places(value: Any, kept: dict[str, bytes]) -> set[str]:
    """Where a value is."""
    return {name for name, held in kept.items() for form in forms(value) if form in held}


class Sink(HttpReceiver):
    """Takes whatever it is sent, as OpenTelemetry's collector, Alertmanager and Prometheus do, and keeps it by path."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        super().__init__()

    def take(self, path: str, body: bytes) -> Answer:
        self.taken[path] = self.taken.get(path, b"") + body
        return Answer()


def sent_events() -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Predictions whose errors make an alert, labels, and events that are refused for one reason each."""
    features = PERSONAL | PLAIN
    for number in range(600):
        failed = {"error": "out of memory"} if number % 2 and number > 200 else {"prediction": number % 2, "score": 0.25}
        yield PREDICTIONS, prediction(number, START + number / 2, features=features | {"age": number % 50}, **failed)
        yield LABELS, {"request_id": f"r{number}", "ts": START + number / 2 + 1, "label": number % 2}
    event = prediction(1000, START + 10, features=features)
    yield PREDICTIONS, event | {"ts": -1.0}
    yield PREDICTIONS, event | {"request_id": ""}
    yield PREDICTIONS, event | {"ts": -1.0, "features": None, "features_summary": features}
    yield PREDICTIONS, event | {"ts": -1.0, "features": {}} | features
    yield PREDICTIONS, event | {"features": features, "prediction": features}
    yield PREDICTIONS, event | {"model": "another", "ts": -1.0}
    yield PREDICTIONS, event | {"features": list(features.values())}
    yield PREDICTIONS, {"specversion": "1.0", "data": event}
    yield PREDICTIONS, json.dumps(event)[:-1]
    yield LABELS, event
    for number in range(64):
        yield PREDICTIONS, prediction(10**6 + number, START + 7200, features=features)


async def send(cluster: Cluster) -> None:
    trace = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    async with Client(topics=cluster.settings.topics, **cluster.settings.client()) as client:
        for topic, event in sent_events():
            key = event["request_id"] if isinstance(event, dict) and "request_id" in event else "r1000"
            value = event if isinstance(event, str) else json.dumps(event)
            await client.send(topic, key.encode(), value.encode(), trace)


@contextmanager
def closing_all(console: Console, cluster: Cluster) -> Iterator[None]:
    """What is written at the end is looked through too."""
    try:
        yield
    finally:
        ended = console.stop(), *cluster.stop()
    assert ended == (0, 0)


@pytest.mark.timeout(600)
def test_personal_values_are_nowhere(broker: Broker, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "key").write_bytes(random.randbytes(32))
    cluster = Cluster(broker, f"marked-{random.randrange(10**6)}", work)
    cluster.apply(ModelRecord("churn", SPEC))
    key = {"TIDEGAUGE_PII_KEY_FILE": str(tmp_path / "key")}
    with Sink() as sink:
        often = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_METRIC_EXPORT_INTERVAL": "1000"}
        cluster.start(0, "--log-format", "json", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, **key, **often)
        console = Console(cluster)
        with (
            closing_all(console, cluster),
            Bridge(cluster, "notify", "--alertmanager", sink.url),
            Bridge(cluster, "history", "--remote-write", f"{sink.url}/api/v1/write", "--out-of-order", "9999d"),
        ):
            asyncio.run(send(cluster))
            cluster.wait_for_predictions(600, "1m", 240)
            for path in ("/api/v2/alerts", "/api/v1/write", "/v1/traces", "/v1/metrics"):
                wait_for(lambda path=path: path in sink.taken, 60, path)
            kept = pages(cluster, console)
    kept |= {path: body for path, body in sink.taken.items()} | printed(cluster) | topics(cluster) | files(work)
    for name, value in PERSONAL.items():
        assert not places(value, kept), name
    found = {name for value in PLAIN.values() for name in places(value, kept)}
    assert {"topic dead-letters", "topic tidegauge-profiles", "topic tidegauge-monitor-changelog", "stream"} <= found
    assert any(name.endswith(".sst") for name in found), "state on disk"
    # Of what has no values of features, that it was looked through.
    examples = {place for number in range(600) for place in places(f"r{number}", kept)}
    assert {"topic alerts", "alerts --json", "topic tidegauge-join-changelog"} <= examples
    assert {"worker-0.log", "console.log", "audit.jsonl", "report --model", "/v1/traces", "/metrics"} <= kept.keys()


def pages(cluster: Cluster, console: Console) -> dict[str, bytes]:
    """What console and worker answer."""
    version = "version=churn_xgb:3&window=1m"
    asked = [
        "models", "fleet", "models/churn", f"models/churn/windows?{version}", f"models/churn/features?{version}",
        f"models/churn/restatements?{version}", f"models/churn/limits?{version}",
        f"models/churn/segments?{version}&window_start=2025-09-27T00:01:00Z", f"models/churn/open-windows?{version}",
        "models/churn/comparisons", "models/churn/distributions?version=churn_xgb:3", "alerts", "incidents", "silences",
        "stream",
    ]  # fmt: skip
    console.wait(lambda: sum(of["count"] for of in console.ask("/api/v1/stream")["dead_letters"]) == REFUSED)
    found = {page: console.ask(f"/api/v1/{page}", raw=True) for page in asked}
    for alert in json.loads(found["alerts"])["alerts"]:
        page = f"alerts/{alert['event']['data']['fingerprint']}"
        found[page] = console.ask(f"/api/v1/{page}", raw=True)
        console.ask(f"/api/v1/{page}/acknowledge", "POST", {"comment": "seen"})
    for incident in json.loads(found["incidents"])["incidents"]:
        page = f"incidents/{incident['data']['incident']}"
        found[page] = console.ask(f"/api/v1/{page}", raw=True)
    request = urllib.request.Request(
        f"http://127.0.0.1:{cluster.ports[0]}/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    with urllib.request.urlopen(request, timeout=30) as page:
        found["/metrics"] = page.read()
    assert b"trace_id" in found["/metrics"], "an exemplar"
    return found


def printed(cluster: Cluster) -> dict[str, bytes]:
    """What commands print; their files are in the cluster's directory."""
    topics = [part for topic in TOPICS for part in (f"--{topic}-topic", cluster.settings.topic(topic))]
    where = ["--bootstrap", cluster.settings.bootstrap, "--app-id", cluster.name, *topics]
    output = str(cluster.directory / "reports")
    found = {}
    for command in (
        ["alerts"], ["alerts", "--json"], ["incidents", "--json"],
        ["report", "--model", "churn", *PERIOD, "--output", output, "--card"],
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "tidegauge", *command, *where], capture_output=True, timeout=120, cwd=cluster.directory
        )
        assert done.returncode == 0, done.stderr
        found[" ".join(command[:2])] = done.stdout + done.stderr
    return found


def topics(cluster: Cluster) -> dict[str, bytes]:
    """All topics but the inputs, which are as their producer wrote them."""
    found = {}
    for topic in (*TOPICS, *INTERNAL):
        if topic not in (PREDICTIONS, LABELS) and "rekeyed" not in topic and "inferences" not in topic:
            records = cluster.read(topic)
            assert records, topic
            found[f"topic {topic}"] = b"".join(
                (record.key or b"") + (record.value or b"") + repr(record.headers).encode() for record in records
            )
    return found


def files(directory: Path) -> dict[str, bytes]:
    """Files of the state and of commands, logs among them."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
