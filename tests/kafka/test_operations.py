"""Running it: stopping, health, metrics, topics that do not fit, a changelog that stays short, a broker that restarts."""

import asyncio
import json
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families

from support import topics
from support.cluster import AFTER_A_KILL, Cluster
from support.events import START, prediction, stream
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.errors import TopicError
from tidegauge.stream import changelog, models_topic, state_format
from tidegauge.stream.broker import Broker


def get(port, page):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def wait_until(check, seconds=60):
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.2)


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"ops-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def test_health_metrics_and_an_orderly_stop(cluster):
    worker = cluster.start(0)
    port = cluster.ports[0]
    wait_until(lambda: get(port, "/readyz")[0] == 200)
    assert get(port, "/healthz")[0] == 200
    events, end = traffic(5, 1000)
    cluster.send(events)
    verdict = 'model_version="churn_xgb:4",monitor="rollout",verdict="keep watching",window="5m"} 1.0'
    wait_until(lambda: verdict in get(port, "/metrics")[1])
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
    began = time.monotonic()
    assert cluster.stop() == [0]
    assert time.monotonic() - began < 10
    assert worker.returncode == 0


def test_a_restart_goes_on_from_its_disk(cluster):
    events, _ = traffic(6, 1000)
    cluster.start(0)
    cluster.send(events)
    read = re.compile(r'^tidegauge_events_total\{topic="labels"\} [1-9]', re.MULTILINE)
    wait_until(lambda: read.search(get(cluster.ports[0], "/metrics")[1]))
    time.sleep(2)
    assert cluster.stop() == [0]
    cluster.start(0)
    wait_until(lambda: get(cluster.ports[1], "/readyz")[0] == 200)

    # The second start finds its disk up to date: nothing is read from the changelogs again.
    def starts():
        return re.findall(r"(join|monitor)-\d: restored (\d+) changelog records", cluster.log())

    wait_until(lambda: len(starts()) >= 16)
    assert all(count == "0" for _, count in starts()[8:])


def test_the_changelog_stays_short(cluster):
    """Many small checkpoints over a small state: what is kept is bounded by the state, not by history."""
    cluster.start(0)
    for part in range(40):
        values = [prediction(number, START + part, prediction=1, score=0.5) for number in range(part * 50, part * 50 + 50)]
        labels = [{"request_id": f"r{n}", "ts": START + part, "label": n % 2} for n in range(50)]
        batch = [(PREDICTIONS, json.dumps(v).encode()) for v in values] + [(LABELS, json.dumps(v).encode()) for v in labels]
        cluster.send(batch)
        time.sleep(0.5)
    assert offsets(cluster, "tidegauge-join-changelog", 0)[0] > 0
    begin, end = offsets(cluster, "tidegauge-join-changelog", 0)
    assert end - begin < end * 0.9
    assert len(cluster.read("tidegauge-join-changelog")) < sum(
        offsets(cluster, "tidegauge-join-changelog", p)[1] for p in range(4)
    )


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
        cluster.start(0)
        cluster.send(events[: len(events) // 2])
        time.sleep(1)
        own.restart()
        # A worker whose transaction the restart broke ends; its supervisor, here the test, starts it again.
        time.sleep(3)
        if cluster._workers[0].poll() is not None:
            cluster.start(0)
        cluster.send(events[len(events) // 2 :] + end)
        for _ in range(3):
            time.sleep(4)
            if all(worker.poll() is not None for worker in cluster._workers):
                cluster.start(0)
        assert_same(cluster.wait_for_predictions(2000, "1m", quiet=AFTER_A_KILL), replayed(events + end, tmp_path))
        cluster.stop()
        assert len(re.findall("Unable connect|Unable to|Failed fetch|Coordinator Request failed", cluster.log())) < 10


def test_state_of_another_form_is_refused(cluster):
    worker = cluster.start(0)
    events, _ = traffic(11, 300)
    cluster.send(events)
    wait_until(lambda: offsets(cluster, "tidegauge-join-changelog", 0)[1] > 0)
    cluster.stop()
    assert worker.returncode == 0

    async def write():
        [record] = changelog.encode({state_format.KEY: b"0"})
        async with AIOKafkaProducer(**cluster.settings.client()) as producer:
            await producer.send_and_wait(cluster.settings.topic("tidegauge-join-changelog"), value=record, partition=0)

    asyncio.run(write())

    def changes():
        found = topics.read(cluster.settings, cluster.settings.topic("tidegauge-join-changelog"))
        return [record for record in found if record.partition == 0]

    before = changes()
    again = cluster.start(0)
    assert again.wait(60) == 1
    assert "the state of join-0 was stored in another form (format 0, this version has 1)" in cluster.log()
    # End offsets would not do: markers of transactions count there, and the last ones may come after the commit was answered.
    assert changes() == before


def test_topics_that_do_not_fit_are_refused(cluster):
    async def make():
        admin = AIOKafkaAdminClient(**cluster.settings.client())
        await admin.start()
        await admin.create_topics([NewTopic("odd-predictions", 3, 1), NewTopic("odd-labels", 2, 1)])
        await admin.close()

    asyncio.run(make())
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


def test_the_supervisor_restarts_a_worker_that_dies(cluster, tmp_path):
    command = [
        sys.executable, "-m", "tidegauge", "worker", "--bootstrap", cluster.settings.bootstrap, "--app-id", cluster.name,
        "--workers", "2", "--state-dir", str(tmp_path / "state"), "--metrics-port", "29464", "--log-format", "json",
    ]  # fmt: skip
    with (tmp_path / "supervisor.log").open("wb") as log:
        supervisor = subprocess.Popen(command, stderr=log)
    try:
        wait_until(lambda: get(29464, "/readyz")[0] == 200 and get(29465, "/readyz")[0] == 200)
        listing = subprocess.run(["pgrep", "-P", str(supervisor.pid)], capture_output=True, text=True, check=True)
        first = [int(pid) for pid in listing.stdout.split()]
        subprocess.run(["kill", "-9", str(first[0])], check=True)
        wait_until(lambda: get(29464, "/readyz")[0] != 200, 10)
        wait_until(lambda: get(29464, "/readyz")[0] == 200 and get(29465, "/readyz")[0] == 200)
        supervisor.terminate()
        assert supervisor.wait(15) == 0
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
    wait_until(lambda: any(r["model"] == "other" and r["closed"] for r in cluster.metrics().values()))
