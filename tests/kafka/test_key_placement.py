"""Producers that put events where labels do not meet predictions are recognised from the records."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from confluent_kafka import Producer

from support.cluster import Cluster
from support.servers import wait_for
from support.topics import made, read
from tidegauge.stream.key_placement import KeyPlacement, PlacementMistake, check_partitioner, mistake


def write(broker, name, count=200, key=lambda number: f"r{number}", **settings):
    producer = Producer({"bootstrap.servers": broker.bootstrap, **settings})
    for number in range(count):
        event = {"request_id": f"r{number}", "ts": time.time(), "model_version": "churn:3", "score": 0.5, "label": 1}
        producer.produce(name, json.dumps(event), key=key(number))
    assert producer.flush(30) == 0


def found(cluster):
    return asyncio.run(check_partitioner(cluster.settings))


@pytest.mark.parametrize(
    ("settings", "key", "kind"),
    [
        ({}, lambda number: f"r{number}", "other_partitioner"),
        ({"partitioner": "murmur2_random"}, lambda number: f"r{number}", None),
        ({"partitioner": "murmur2"}, lambda number: None, "no_key"),
        ({"partitioner": "murmur2"}, lambda number: f"user-{number}", "other_key"),
    ],
    ids=["default", "right", "no-key", "other-key"],
)
def test_what_a_producer_does_is_told_from_its_records(broker, tmp_path, request, settings, key, kind):
    cluster = Cluster(broker, request.node.name.replace("[", "-").rstrip("]"), tmp_path)
    names = [cluster.settings.topic(topic) for topic in ("predictions", "labels")]
    assert found(cluster) == []
    made(broker, *names)
    assert found(cluster) == []
    write(broker, names[1], key=key, **settings)
    wrong = sum(mistake(record, record.partition, 4) is not None for record in read(broker, names[1]))
    assert (wrong > 0) == (kind is not None)
    assert found(cluster) == ([PlacementMistake("labels", kind, wrong, 200)] if kind else [])


def test_a_worker_counts_it_and_says_it_once(broker, tmp_path):
    cluster = Cluster(broker, "misplaced", tmp_path)
    worker = cluster.start()
    wait_for(lambda: "tidegauge_build_info" in cluster.scrape(cluster.ports[0]), 90, "the worker")
    write(broker, cluster.settings.topic("predictions"), partitioner="murmur2_random")
    write(broker, cluster.settings.topic("labels"))

    def counted(kind, **labels):
        name = f"tidegauge_{kind}_total{{" + ",".join(f'{label}="{value}"' for label, value in sorted(labels.items())) + "} "
        lines = [line for line in cluster.scrape(cluster.ports[0]).splitlines() if line.startswith(name)]
        return float(lines[0].split()[-1]) if lines else 0.0

    try:
        wait_for(lambda: counted("misplaced", topic="labels", mistake="other_partitioner"), 60, "the count")
        wait_for(lambda: counted("placement_checked", topic="predictions"), 60, "the predictions")
        assert counted("misplaced", topic="predictions", mistake="other_partitioner") == 0
    finally:
        cluster.stop()
    assert worker.returncode == 0
    assert cluster.log().count("Labels will not find their predictions") == 1
    assert "murmur2_random" in cluster.log()


def test_a_chunk_costs_a_few_looks(broker):
    placement = KeyPlacement(4)
    (record,) = [type("R", (), {"key": b"x", "value": b'{"request_id":"r1"}', "offset": 3})]
    placement.look("labels", 0, [record] * 10_000)
    assert placement.checked["labels"] <= 16
    placement.look("labels", 0, [record])
    assert placement.misplaced["labels", "other_key"] == placement.checked["labels"]
