"""The console as a process on a real Kafka: what it answers is what the topics hold, also after it starts again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from support.cluster import Cluster
from support.console_process import Console
from support.driver import SPEC
from support.events import START, stream
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, LABELS
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import BaselineSpec, Condition, MonitorSpec
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker, free_port

MONITORS = (MonitorSpec("age", "data.features.age.missing_ratio", "1m", Condition("above", high=0.01), min_count=5),)
COUNT = 400


@pytest.mark.timeout(500)
def test_a_console_on_a_running_stream(broker: Broker, tmp_path: Path) -> None:
    cluster = Cluster(broker, "console", tmp_path)
    spec = replace(SPEC, monitors=MONITORS, baseline=BaselineSpec(first=100), publish_interval=1.0)
    console = Console(cluster)
    try:
        # Nothing is there yet, not even the topics.
        assert console.ask("/api/v1/models") == {"models": []}
        cluster.apply(ModelRecord("churn", spec))
        cluster.start()
        cluster.send([*stream(7, count=COUNT), ("predictions", b"{not json"), ("labels", b"[]")])
        cluster.wait_for_predictions(COUNT, "1m")
        corrected = [{"request_id": f"r{number}", "ts": START + 1200.0, "label": 2} for number in range(50)]
        cluster.send([(LABELS, json.dumps(label).encode()) for label in corrected])
        _restated(cluster)

        def equal() -> bool:
            records: dict[str, Any] = {}
            for version in console.ask("/api/v1/models/churn")["versions"]:
                for window in spec.windows:
                    for segment in ("", "region%3Deu", "region%3Dus"):
                        path = f"/api/v1/models/churn/windows?version={version}&window={window}&segment={segment}"
                        for record in console.ask(path)["records"]:
                            key = [record[m] for m in ("model", "model_version", "segment", "window", "window_start")]
                            records[json.dumps(key, separators=(",", ":"))] = record
            topic = {key.decode(): record for key, record in cluster.metrics().items() if "kind" not in record}
            return records == topic

        console.wait(equal)
        moved = console.ask("/api/v1/models/churn/restatements?version=churn_xgb:3&window=1m")["windows"]
        assert moved
        alerts: dict[str, Any] = {}

        def alike() -> bool:
            alerts.update((event["data"]["fingerprint"], event) for event in cluster.alerts())
            said = console.ask("/api/v1/alerts")["alerts"]
            return {one["event"]["data"]["fingerprint"]: one["event"] for one in said} == alerts

        console.wait(alike)
        state = console.wait(lambda: (of := console.ask("/api/v1/stream"))["samples"] and of["partitions"] and of)
        assert {p["stage"] for p in state["partitions"]} == {"join", "monitor"}
        console.wait(lambda: console.ask("/api/v1/stream")["samples"][-1]["lag"] == {"join": 0, "monitor": 0})
        assert {one["reason"]: one["count"] for one in state["dead_letters"]} == {"not_json": 1, "not_an_object": 1}
        (watermark,) = state["watermarks"]
        assert watermark["model"] == "churn"
        assert console.ask("/api/v1/models")["models"][0]["last_event"] == watermark["prediction"]

        firing = [mark for mark, event in alerts.items() if event["data"]["status"] == "firing"]
        console.ask(f"/api/v1/alerts/{firing[0]}/acknowledge", "POST", {"comment": "seen"})
        console.ask("/api/v1/silences", "POST", {"matchers": {"model": "churn"}, "duration": "1h"})
        slower = ModelRecord("churn", replace(spec, grace=spec.grace + 60.0))
        cluster.apply(slower)
        cluster.apply(slower)
        told = f"grace {spec.grace:g} → {spec.grace + 60:g}"
        marks = console.wait(lambda: console.ask("/api/v1/models/churn")["marks"])
        assert [(mark["kind"], mark["text"]) for mark in marks] == [("spec", told)]
        assert console.stop() == 0
        console = Console(cluster)
        found = console.wait(lambda: (of := console.ask(f"/api/v1/alerts/{firing[0]}")).get("acknowledged") and of)
        assert (found["acknowledged"]["comment"], "silenced" in found) == ("seen", True)
        assert console.ask("/api/v1/models/churn")["marks"] == marks
        lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]
        assert [line["action"] for line in lines] == ["acknowledge", "silence"]
    finally:
        console.stop()
        cluster.stop()
    kept = [json.loads(record.value) for record in cluster.read("tidegauge-audit")]
    assert kept == lines


@pytest.mark.timeout(300)
def test_of_many_dead_letters_and_alerts_the_newest_come_first_and_none_is_missed(broker: Broker, tmp_path: Path) -> None:
    """More than are read before the first page."""
    cluster = Cluster(broker, "letters", tmp_path)
    letters, alerts, partitions = 30_000, 12_000, cluster.settings.partitions
    began = int(1000 * time.time()) - letters

    async def fill() -> None:
        await models_topic.ensure_topics(cluster.settings)
        topics = [cluster.settings.topic(topic) for topic in (DEAD_LETTERS, ALERTS)]
        async with AIOKafkaProducer(linger_ms=20, **cluster.settings.client()) as producer:
            for number in range(letters):
                headers = [("reason", b"not_json"), ("offset", b"%d" % number)]
                place: Any = {"partition": number % partitions, "timestamp_ms": began + number}
                await producer.send(topics[0], b"{", headers=headers, **place)
            for number in range(alerts):
                mark, sequence = f"f{number % 3}", number // 3
                data = {
                    "status": ("firing", "resolved")[sequence % 2], "fingerprint": mark, "severity": "critical",
                    "metric": "system.error_ratio", "labels": {"model": "m", "alertname": "a"},
                    "starts_at": "2025-09-27T00:00:00Z", "annotations": {"summary": ""},
                }  # fmt: skip
                event = {"id": f"{mark}-{sequence}", "data": data}
                await producer.send(topics[1], json.dumps(event).encode(), key=mark.encode(), partition=number % 3)

    asyncio.run(fill())
    console = Console(cluster)
    try:
        console.wait(lambda: console.ask("/readyz", raw=True))
        # Whatever has been read of what is older: this is there.
        (said,) = console.ask("/api/v1/stream")["dead_letters"]
        assert said["count"] >= 2000 * partitions
        assert [letter["offset"] for letter in said["samples"]] == [str(letters - 1 - place) for place in range(20)]
        newest = {f"f{mark}-{alerts // 3 - 1}" for mark in range(3)}
        assert {one["event"]["id"] for one in console.ask("/api/v1/alerts")["alerts"]} == newest
        console.wait(lambda: console.ask("/api/v1/stream")["console"]["read"] == 1)
        (said,) = console.ask("/api/v1/stream")["dead_letters"]
        assert said["count"] == letters
        assert [letter["offset"] for letter in said["samples"]] == [str(letters - 1 - place) for place in range(20)]
        assert {one["event"]["id"] for one in console.ask("/api/v1/alerts")["alerts"]} == newest
        kept = [event["id"] for event in console.ask("/api/v1/alerts/f1")["transitions"]]
        assert kept == [f"f1-{number}" for number in range(alerts // 3 - 100, alerts // 3)]
    finally:
        console.stop()


def _restated(cluster: Cluster) -> dict[bytes, dict[str, Any]]:
    """The topic's newest records, once late labels have changed some and nothing changes any more."""
    before: dict[bytes, dict[str, Any]] = {}
    deadline = time.monotonic() + 120
    while True:
        found = cluster.metrics()
        if found == before and any(record["reason"] == "labels" for record in found.values()):
            return found
        assert time.monotonic() < deadline
        before = found
        time.sleep(2.5)


@pytest.mark.timeout(120)
def test_no_broker_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tidegauge", "console", "--bootstrap", f"127.0.0.1:{free_port()}", "--port", "0"]
    done = subprocess.run(command, capture_output=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1].startswith("tidegauge: Kafka at 127.0.0.1:")
