"""`tidegauge ingest` on a real Kafka: what a model server logs becomes prediction events, each once, whoever dies."""

from __future__ import annotations

import asyncio
import json
import random
import time

import pytest
from aiokafka import AIOKafkaProducer

from support.cluster import AFTER_A_KILL, Cluster
from support.events import START
from support.framed import framed
from support.inference import kserve, protobuf, v1, v2
from support.ingest_command import Ingest
from support.schemas import mistakes
from support.servers import wait_for
from tidegauge.models import directory
from tidegauge.stream import models_topic
from tidegauge.stream.broker import Broker
from tidegauge.stream.partitioning import partition_of

SPEC = """\
model: churn
task: binary
windows: [5s]
grace: 0s
inputs: {server: churn-isvc, version: "churn:3", features: [age, income], prediction: "[0]", score: "[1]"}
"""


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"ingest-{random.randrange(10**6)}", tmp_path)
    asyncio.run(models_topic.ensure_topics(made.settings))
    return made


@pytest.fixture
def models(tmp_path):
    made = tmp_path / "models"
    made.mkdir()
    (made / "churn.yaml").write_text(SPEC)
    return made


def predictions(cluster):
    return [(json.loads(record.value), record) for record in cluster.read("predictions")]


def exchange(id_, ts, rows, answers):
    return [
        (kserve("request", id_, ts, "churn-isvc"), v1("instances", rows)),
        (kserve("response", id_, ts + 0.02, "churn-isvc"), v1("predictions", answers)),
    ]


def test_kserves_cloud_events_become_predictions(cluster, models):
    with Ingest(cluster, "--models", models, "--timeout", "3s") as ingest:
        messages = exchange("a", START, [[41, 1.5]], [[1, 0.8]])
        messages += exchange("b", START, [[41, 1.5], [23, 2.5]], [[1, 0.8], [0, 0.25]])
        messages += exchange("c", START, [[1, 1]], [[1, 1]])[:1]
        for headers, body in messages:
            assert ingest.ask("/", headers, body) == (200, "1 taken\n")
        wait_for(lambda: len(predictions(cluster)) == 4, what="the events")
        found = {event["request_id"]: event for event, _ in predictions(cluster)}
        assert found["a"] == {
            "request_id": "a", "ts": START, "model": "churn", "model_version": "churn:3", "prediction": 1, "score": 0.8,
            "features": {"age": 41, "income": 1.5}, "segments": {}, "latency_ms": 20.0,
        }  # fmt: skip
        assert (found["b-1"]["prediction"], found["b-1"]["features"]) == (0, {"age": 23, "income": 2.5})
        assert found["c"]["error"] == "no response"
        assert all(mistakes("prediction", event) == [] for event in found.values())
        for event, record in predictions(cluster):
            assert record.key == event["request_id"].encode()
        for headers, body, told in (
            (kserve("request", "x", START, "churn-isvc"), v1("instances", [[41]]), "inputs.features.income: row 0: it has 1"),
            (kserve("rumour", "x", START), v1("instances", [[41, 1]]), "header ce-type"),
            ({"Content-Type": "application/json"}, b"{}", "no CloudEvent"),
        ):
            status, text = ingest.ask("/", headers, body)
            assert status == 400
            assert told in text
        assert ingest.ask("/", *exchange("y", START, [[0.5, 0.25]] * 400_000, [])[0])[0] == 413
        assert ingest.number("tidegauge_ingest_http_requests_total", code="200") == 5
        assert ingest.number("tidegauge_ingest_http_requests_total", code="400") == 3
        assert ingest.number("tidegauge_ingest_unanswered_total") == 1
        assert ingest.number("tidegauge_ingest_waiting_messages") == 0
        ingest.process.terminate()
        assert ingest.process.wait(20) == 0


def test_what_was_answered_200_survives_kills_and_counts_once(cluster, models):
    """Two processes take requests and responses in turn and are killed in turn; every exchange becomes its event once, and
    none a missing response."""
    cluster.apply(*directory.records_of(models))
    cluster.start(0, "--idle-timeout", "2")
    count, rng = 150, random.Random(7)
    exchanges = [exchange(f"r{n}", START, [[n, 1.0]], [[1, 0.5]]) for n in range(count)]
    # The specs come from the topic.
    with Ingest(cluster, "--timeout", "120s") as one, Ingest(cluster, "--timeout", "120s") as other:
        for half in (0, 1):
            for messages in exchanges:
                ingest = rng.choice([one, other])
                assert ingest.ask("/", *messages[half])[0] == 200
                if rng.random() < 0.02:
                    ingest.kill()
                    ingest.start()
        wait_for(lambda: len({event["request_id"] for event, _ in predictions(cluster)}) == count, 60 + AFTER_A_KILL, "events")
        assert [event for event, _ in predictions(cluster) if "error" in event] == []
        found = cluster.wait_for_predictions(count, "5s")
        assert sum(record["predictions"] for record in found.values() if record["window"] == "5s") == count
    cluster.stop()


def test_while_kafka_is_away_the_door_says_so_at_once_and_what_it_took_is_not_lost(tmp_path, models):
    with Broker(tmp_path / "kafka") as broker:
        cluster = Cluster(broker, "away", tmp_path)
        asyncio.run(models_topic.ensure_topics(cluster.settings))
        with Ingest(cluster, "--models", models) as ingest:
            (asked, answered), (later, _) = exchange("a", START, [[1, 1]], [[1, 1]]), exchange("b", START, [[1, 1]], [[1, 1]])
            assert ingest.ask("/", *asked)[0] == 200
            broker.stop()
            status, text = ingest.ask("/", *later)
            assert (status, "send it again" in text) == (503, True)
            assert ingest.ask("/", *later) == (503, "Kafka is away; send this again\n")
            assert ingest.ask("/readyz")[0] == 503
            assert ingest.ask("/healthz")[0] == 200
            broker.start()
            wait_for(lambda: ingest.ask("/", *answered)[0] == 200, 60, "Kafka")
            wait_for(lambda: predictions(cluster), 60, "the event")
            assert {event["request_id"] for event, _ in predictions(cluster)} == {"a"}


def produce(cluster, records):
    """A transaction each, as Kafka Streams writes Seldon's topics: markers stand between the records and at the end."""

    async def run():
        for topic in {topic for topic, *_ in records}:
            await models_topic.ensure_topic(cluster.settings, topic)
        async with AIOKafkaProducer(transactional_id=cluster.name, **cluster.settings.client()) as producer:
            for topic, key, value, headers in records:
                async with producer.transaction():
                    await producer.send_and_wait(topic, value, key=key, headers=headers)

    asyncio.run(run())


def test_topics_of_model_servers_are_read_as_they_are(cluster, models):
    name = cluster.name
    ours, seldon = f"{name}-events", f"seldon.{name}.model.churn-isvc"
    records = [
        (ours, None, body, [(f"ce_{n[3:].lower()}", v.encode()) for n, v in headers.items() if n.startswith("Ce-")])
        for headers, body in exchange("ce", time.time(), [[41, 1.5]], [[1, 0.8]])
    ]
    asked, answered = {"age": [41.0], "income": [1.5]}, {"label": [1]}
    records += [
        (f"{seldon}.outputs", b"s1", protobuf("response", answered), []),
        (f"{seldon}.inputs", b"s1", protobuf("request", asked, raw=True), []),
        (f"{seldon}.inputs", b"s2", v2("inputs", asked), []),
        (f"{seldon}.outputs", b"s2", v2("outputs", answered), []),
        (f"{seldon}.inputs", b"s3", b"\xff\xff", []),
        (f"{seldon}.outputs", b"s3", protobuf("response", answered), []),
        (f"{seldon}.inputs", b"s4", protobuf("request", asked), []),
        # As newer versions of Seldon write them, here with a schema registry: a key of its own, the client's id in a header.
        (f"{seldon}.inputs", b"3.flow.s5", framed(7, b"\0" + protobuf("request", asked)), [("x-request-id", b"s5")]),
        (f"{seldon}.outputs", b"3.flow.s5", framed(8, b"\0" + protobuf("response", answered)), [("x-request-id", b"s5")]),
    ]
    produce(cluster, records)
    (models / "churn.yaml").write_text("model: churn\ninputs: {server: churn-isvc, version: 'churn:3', prediction: '[0]'}\n")
    topics = f"{ours},{seldon}.inputs,{seldon}.outputs"
    with Ingest(cluster, "--models", models, "--from-topic", topics, "--timeout", "2s") as ingest:
        wait_for(lambda: len(predictions(cluster)) == 5, what="the events")
        found = {event["request_id"]: event for event, _ in predictions(cluster)}
        told = {name: event.get("prediction") for name, event in found.items()}
        assert told == {"ce": 1, "s1": 1, "s2": 1, "s4": None, "s5": 1}
        assert {name: event.get("error") for name, event in found.items() if "error" in event} == {"s4": "no response"}
        assert found["s1"]["features"] == found["s2"]["features"] == found["s5"]["features"] == {"age": 41.0, "income": 1.5}
        wait_for(lambda: cluster.read("dead-letters"), what="the dead letter")
        (letter,) = cluster.read("dead-letters")
        headers = {key: value.decode() for key, value in letter.headers}
        assert (headers["reason"], headers["topic"], headers["partition"]) == (
            "bad_inference", f"{seldon}.inputs", str(partition_of(b"s3", 4)),
        )  # fmt: skip
        assert (letter.key, letter.value) == (b"s3", None)
        assert ingest.number("tidegauge_ingest_refused_total", reason="bad_inference") == 1
