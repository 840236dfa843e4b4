"""Lines on standard output reach Kafka by a log shipper, each event in the partition where the worker looks for it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from support.debian import program
from support.deployment import ROOT
from support.servers import wait_for
from support.topics import made, read
from tidegauge.stream.key_placement import mistake

SHIPPERS = ROOT / "deploy/shippers"
TOPICS = ("predictions", "labels")


def lines():
    for number in range(200):
        yield {
            "ts": time.time(), "request_id": f"r{number}", "model_version": "churn:3",
            "features_summary": {"age": None, "n": number}, "prediction": number % 2, "confidence": 0.83, "latency_ms": 12.4,
        }  # fmt: skip
        yield {"request_id": f"r{number}", "ts": time.time(), "label": 0}
    yield {"request_id": "r0", "ts": time.time(), "business": {"revenue": 1.5}}
    yield {"level": "info", "message": "started"}


def test_rsyslog_brings_lines_to_their_partitions(broker, tmp_path):
    daemon = program("rsyslogd", "rsyslog-kafka")
    if not list(Path("/usr/lib").glob("*/rsyslog/omkafka.so")):
        pytest.skip("rsyslog has no omkafka: apt-get install rsyslog-kafka")
    names = {topic: f"rsyslog-{topic}" for topic in TOPICS}
    made(broker, *names.values())
    log = tmp_path / "churn.log"
    text = (SHIPPERS / "rsyslog.conf").read_text().replace("/var/log/tidegauge/*.log", str(log))
    text = text.replace("kafka:9092", broker.bootstrap).replace("/var/spool/rsyslog", str(tmp_path))
    for topic, name in names.items():
        text = text.replace(f'topic="{topic}"', f'topic="{name}"')
    config = tmp_path / "rsyslog.conf"
    config.write_text(f'global(workDirectory="{tmp_path}")\n{text}')
    subprocess.run([daemon, "-N1", "-f", config], check=True, capture_output=True, timeout=60)
    expected = list(lines())
    log.write_text("".join(f"{json.dumps(line)}\n" for line in expected) + "Traceback (most recent call last):\n")
    with (tmp_path / "rsyslogd.log").open("wb") as out:
        process = subprocess.Popen([daemon, "-n", "-f", config, "-i", tmp_path / "pid"], stdout=out, stderr=out)
    try:
        wait_for(lambda: all(len(read(broker, name)) >= 200 for name in names.values()), 60, "the records")
        wait_for(lambda: len(read(broker, names["labels"])) == 201, 30, "the last label")
    finally:
        process.terminate()
        process.wait(30)
    for topic, name in names.items():
        records = read(broker, name)
        kind = "model_version" if topic == "predictions" else None
        assert sorted((json.loads(r.value) for r in records), key=str) == sorted(
            (line for line in expected if "request_id" in line and (kind in line if kind else "model_version" not in line)),
            key=str,
        )
        assert {mistake(r, r.partition, 4) for r in records} == {None}
        assert len({r.partition for r in records}) == 4


def test_vector_and_fluent_bit_say_key_and_partitioner():
    vector = yaml.safe_load((SHIPPERS / "vector.yaml").read_text())
    fluent = yaml.safe_load((SHIPPERS / "fluent-bit.yaml").read_text())
    assert {sink["topic"] for sink in vector["sinks"].values()} == set(TOPICS)
    for sink in vector["sinks"].values():
        assert sink["key_field"] == "request_id"
        assert sink["librdkafka_options"]["partitioner"] == "murmur2_random"
    outputs = fluent["pipeline"]["outputs"]
    assert {output["topics"] for output in outputs} == set(TOPICS) == {source["tag"] for source in fluent["pipeline"]["inputs"]}
    for output in outputs:
        assert output["match"] == output["topics"]
        assert output["message_key_field"] == "request_id"
        assert output["rdkafka.partitioner"] == "murmur2_random"
