"""Running it: stopping, health, metrics, topics that do not fit, a changelog that stays short, a broker that restarts."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from support import topics
from support.cluster import Cluster
from support.events import START, prediction, stream
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.errors import TopicError
from tidegauge.stream import changelog, models_topic, state_format
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.settings import JOIN_CHANGELOG


def get(port, page):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"ops-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def test_health_metrics_and_an_orderly_stop(cluster):
    worker = cluster.start(0)
    port = cluster.ports[0]
    wait_for(lambda: get(port, "/readyz")[0] == 200)
    assert get(port, "/healthz")[0] == 200
    events, end = traffic(5, 1000)
    cluster.send(events)
    verdict = 'model_version="churn_xgb:4",monitor="rollout",verdict="keep watching",window="5m"} 1.0'
    wait_for(lambda: verdict in get(port, "/metrics")[1])
    cluster.send(end)
    cluster.wait_for_predictions(1000, "1m")
    names = {family.name for family in text_string_to_metric_families(get(port, "/metrics")[1])}
    assert {
        "tidegauge_consumer_lag", "tidegauge_events", "tidegauge_joined", "tidegauge_duplicate", "tidegauge_unmatched",
        "tidegauge_expired", "tidegauge_dead_lettered", "tidegauge_checkpoint_seconds",
        "tidegauge_last_checkpoint_timestamp_seconds", "tidegauge_pending_requests", "tidegauge_state_bytes",
        "tidegauge_rebalances", "tidegauge_watermark_timestamp_seconds", "tidegauge_label_delay_seconds",
        "tidegauge_label_coverage_ratio", "tidegauge_performance_roc_auc", "tidegauge_feature_missing_ratio",
        "tidegauge_system_latency_seconds", "tidegauge_business_mean", "tidegauge_alert_firing", "tidegauge_build_info",
        "tidegauge_model_info",
    } <= names  # fmt: skip
    assert cluster.stop(30) == [0]
    assert worker.returncode == 0


def test_a_restart_goes_on_from_its_disk(cluster):
    events, _ = traffic(6, 1000)
    cluster.start(0)
    cluster.send(events)
    read = re.compile(r'^tidegauge_events_total\{topic="labels"\} [1-9]', re.MULTILINE)
    wait_for(lambda: read.search(get(cluster.ports[0], "/metrics")[1]))
    assert cluster.stop() == [0]
    cluster.start(0)
    wait_for(lambda: get(cluster.ports[1], "/readyz")[0] == 200)

    # The second start finds its disk up to date: nothing is read from the changelogs again.
    def starts():
        return re.findall(r"(join|monitor)-\d: restored (\d+) changelog records", cluster.log())

    wait_for(lambda: len(starts()) >= 16)
    assert all(count == "0" for _, count in starts()[8:])


def test_the_changelog_stays_short(cluster):
    """Many small checkpoints over a small state: what is kept is bounded by the state, not by history."""
    cluster.start(0, "--checkpoint-interval", "0.05")
    events = []
    for number in range(2000):
        events.append((PREDICTIONS, prediction(number, START + number // 50, prediction=1, score=0.5)))
        events.append((LABELS, {"request_id": f"r{number % 50}", "ts": START + number // 50, "label": number % 2}))
    cluster.send([(topic, json.dumps(event).encode()) for topic, event in events], pause=0.1, step=40)

    def kept():
        """The share of all records that are still there."""
        begin, end = offsets(cluster, JOIN_CHANGELOG, 0)
        return (end - begin) / end

    wait_for(lambda: kept() < 0.9, 60, "a shorter changelog")


@pytest.mark.long
def test_profiles_go_once_they_are_counted(cluster):
    cluster.start(0)
    sent = 0

    def some_are_gone():
        nonlocal sent
        values = [prediction(sent + n, START + sent / 400, prediction=1, score=0.5) for n in range(400)]
        cluster.send([(PREDICTIONS, json.dumps(value).encode()) for value in values])
        sent += 400
        return any(offsets(cluster, "tidegauge-profiles", partition)[0] > 0 for partition in range(4))

    wait_for(some_are_gone, 120, "profiles that are deleted")
    cluster.send([(PREDICTIONS, json.dumps(prediction(10**6, START + 900, prediction=1, score=0.5)).encode())])
    cluster.wait_for_predictions(sent, "1m")
    cluster.stop()
    cluster.start(0)
    cluster.wait_for_predictions(sent, "1m")
    assert "is not deleted" not in cluster.log()
    told = cluster.scrape(cluster.ports[1])
    assert "tidegauge_predictions_total" in told
    assert not re.search(r"^tidegauge_gone_total\S* [1-9]", told, re.MULTILINE)


def offsets(cluster, topic, partition):
    from aiokafka import AIOKafkaConsumer, TopicPartition

    async def ask():
        consumer = AIOKafkaConsumer(**cluster.settings.client())
        await consumer.start()
        try:
            place = TopicPartition(cluster.settings.topic(topic), partition)
            return (await consumer.beginning_offsets([place]))[place], (await consumer.end_offsets([place]))[place]
        finally:
            await consumer.stop()

    return asyncio.run(ask())


def test_a_broker_restart_in_the_middle(tmp_path):
    with Broker() as own:
        cluster = Cluster(own, "restart", tmp_path)
        cluster.apply(RECORD)
        events, end = traffic(7, 2000)
        # A worker whose transaction the restart broke ends; its supervisor starts it again.
        cluster.supervise(0)
        cluster.send(events[: len(events) // 2])
        wait_for(lambda: bool(cluster.metrics()), 60, "the first numbers")
        own.restart()
        cluster.send(events[len(events) // 2 :] + end)
        assert_same(cluster.wait_for_predictions(2000, "1m"), replayed(events + end, tmp_path))
        cluster.stop()
        assert len(re.findall("Unable connect|Unable to|Failed fetch|Coordinator Request failed", cluster.log())) < 10


def test_state_of_another_form_is_refused(cluster):
    worker = cluster.start(0)
    events, _ = traffic(11, 300)
    cluster.send(events)
    wait_for(lambda: offsets(cluster, JOIN_CHANGELOG, 0)[1] > 0)
    cluster.stop()
    assert worker.returncode == 0

    async def write():
        [record] = changelog.encode({state_format.KEY: b"0"})
        async with AIOKafkaProducer(**cluster.settings.client()) as producer:
            await producer.send_and_wait(cluster.settings.topic(JOIN_CHANGELOG), value=record, partition=0)

    asyncio.run(write())

    def changes():
        """All that was written, committed or not: a transaction may end later than was said, or with its successor."""
        found = topics.read(cluster.settings, cluster.settings.topic(JOIN_CHANGELOG), "read_uncommitted")
        return [record for record in found if record.partition == 0]

    before = changes()
    again = cluster.start(0)
    assert again.wait(60) == 1
    assert "the state of join-0 was stored in another form (format 0, this version has 1)" in cluster.log()
    assert changes() == before


def test_topics_that_do_not_fit_are_refused(cluster):
    topics.made(cluster.settings, "odd-predictions", partitions=3)
    topics.made(cluster.settings, "odd-labels", partitions=2)
    odd = {**cluster.settings.topics, "predictions": "odd-predictions", "labels": "odd-labels"}
    settings = type(cluster.settings)(bootstrap=cluster.settings.bootstrap, app_id="odd", topics=odd, rekey="never")
    with pytest.raises(TopicError, match=r"3 partitions and odd-labels has 2"):
        asyncio.run(models_topic.ensure_topics(settings))
    refused = subprocess.run(
        [sys.executable, "-m", "tidegauge", "worker", "--bootstrap", settings.bootstrap, "--predictions-topic",
         "odd-predictions", "--labels-topic", "odd-labels", "--state-dir", str(cluster.directory / "odd"), "--rekey", "never"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert "3 partitions" in refused.stderr


def two_free_ports():
    """The first of two ports that follow on each other."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 1))
            return port


def test_the_supervisor_restarts_a_worker_that_dies(cluster, tmp_path):
    port = two_free_ports()
    command = [
        sys.executable, "-m", "tidegauge", "worker", "--bootstrap", cluster.settings.bootstrap, "--app-id", cluster.name,
        "--workers", "2", "--state-dir", str(tmp_path / "state"), "--metrics-port", str(port), "--log-format", "json",
    ]  # fmt: skip
    with (tmp_path / "supervisor.log").open("wb") as log:
        supervisor = subprocess.Popen(command, stderr=log)

    def workers():
        listing = subprocess.run(["pgrep", "-P", str(supervisor.pid)], capture_output=True, text=True)
        return {int(pid) for pid in listing.stdout.split()}

    def ready():
        return all(get(port + index, "/readyz")[0] == 200 for index in (0, 1))

    try:
        wait_for(ready, 60, "two workers")
        first = workers()
        os.kill(min(first), signal.SIGKILL)
        wait_for(lambda: len(workers() - first) == 1 and len(workers() & first) == 1, 60, "another worker")
        wait_for(ready, 60, "its readiness")
        supervisor.terminate()
        assert supervisor.wait(30) == 0
    finally:
        supervisor.kill()
    lines = (tmp_path / "supervisor.log").read_text().splitlines()
    # Names and types of the Elastic Common Schema.
    for entry in map(json.loads, lines):
        assert {"@timestamp", "log.level", "message", "ecs.version"} <= entry.keys()
        assert entry["service"]["name"] == "tidegauge"
        assert isinstance(entry["log"]["logger"], str)


def test_events_of_another_model_are_picked_up_without_a_spec(cluster):
    cluster.start(0)
    events = [(topic, value.replace(b'"churn"', b'"other"')) for topic, value in stream(8, 300)]
    cluster.send(events)
    late = [(PREDICTIONS, json.dumps(prediction(i, START + 90000, model="other")).encode()) for i in range(10**6, 10**6 + 50)]
    cluster.send(late)
    wait_for(lambda: any(r["model"] == "other" and r["closed"] for r in cluster.metrics().values()))
