"""Any key, any partitioner, any number of partitions: re-keyed, predictions and labels meet, each once, whoever is killed."""

import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter

import msgspec
import pytest
from confluent_kafka import Producer

from support.alternation import assert_alternating
from support.cluster import Cluster
from support.half_an_hour import make, replayed_alerts, transitions, watched
from support.topics import made
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine import delta
from tidegauge.engine.stage import LABELS, PREDICTIONS, PROFILES
from tidegauge.errors import TopicError

POINTS = ("before-transaction", "mid-transaction", "before-commit", "after-commit", "after-local-write", "mid-restore")


def request_key(topic, request_id):
    return request_id


def debezium_key(topic, request_id):
    """As a table's change events have it; predictions come without any."""
    return json.dumps({"payload": {"id": request_id}}) if topic == LABELS else None


@pytest.fixture
def cluster(broker, tmp_path, request):
    """With topics of three and of two partitions, unless the test says otherwise."""
    found = Cluster(broker, f"rekey-{random.randrange(10**6)}", tmp_path)
    for topic, partitions in getattr(request, "param", {PREDICTIONS: 3, LABELS: 2}).items():
        made(broker, found.settings.topic(topic), partitions=partitions)
    yield found
    found.stop()


def write(cluster, events, key, **settings):
    """As confluent-kafka writes, by its own default partitioner (CRC-32, at random without a key)."""
    producer = Producer({"bootstrap.servers": cluster.settings.bootstrap, **settings})
    for topic, value in events:
        producer.produce(cluster.settings.topic(topic), value, key=key(topic, json.loads(value)["request_id"]))
    assert producer.flush(60) == 0


def predictions(events):
    return sum(topic == PREDICTIONS for topic, _ in events)


def counted(cluster, port, name):
    lines = [line for line in cluster.scrape(port).splitlines() if line.startswith(name)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def doctor(cluster):
    """What `tidegauge doctor` says; nothing may be wrong."""
    names = {f"TIDEGAUGE_{topic.upper().replace('-', '_')}_TOPIC": name for topic, name in cluster.settings.topics.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tidegauge", "doctor", "--bootstrap", cluster.settings.bootstrap, "--app-id", cluster.name],
        env=os.environ | names, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def standing(cluster):
    """By partition of the join whether it has said last that nothing comes any more."""
    messages = [delta.decode(record.value) for record in cluster.read(PROFILES)]
    return {message.partition: message.idle for message in messages}


@pytest.mark.parametrize("key", [request_key, pytest.param(debezium_key, marks=pytest.mark.long)])
def test_partition_counts_that_differ_and_any_key(cluster, tmp_path, key):
    events, end = traffic(11, 2000)
    with pytest.raises(TopicError, match="start workers with --rekey, or recreate"):
        cluster.apply(RECORD)
    write(cluster, events + end, key)
    cluster.apply(RECORD)
    cluster.start(0)
    assert_same(cluster.wait_for_predictions(predictions(events), "1m"), replayed(events + end, tmp_path))
    assert counted(cluster, cluster.ports[0], "tidegauge_misplaced_total") == 0
    lags = [line for line in cluster.scrape(cluster.ports[0]).splitlines() if line.startswith("tidegauge_consumer_lag{")]
    read = Counter(label for line in lags for label in ("rekey-predictions", "rekey-labels", "join") if f'"{label}"' in line)
    assert read == {"rekey-predictions": 3, "rekey-labels": 2, "join": 6}
    deadline = time.monotonic() + 30
    while not all(standing(cluster).values()):
        assert time.monotonic() < deadline, standing(cluster)
        time.sleep(0.5)
    assert cluster.stop() == [0]
    assert "labels are re-keyed" in cluster.log()
    said = [line for line in cluster.log().splitlines() if not re.match(r"\d{4}-\d\d-\d\d \S+ INFO ", line)]
    assert not said, "an orderly run has nothing but its own lines in the log"
    assert "re-keyed to 3, however many they have" in doctor(cluster)


def test_alerts_are_those_of_replay_though_partitions_are_behind_each_other(cluster, tmp_path):
    """A backlog that lies unevenly, so that its partitions come to their ends one long after the other."""
    record, events, rng = watched(tmp_path), make(1), random.Random(3)
    producer = Producer({"bootstrap.servers": cluster.settings.bootstrap})
    for _, topic, value in events:
        partition = rng.choice([0, 0, 0, 0, 0, 1, 1, 2] if topic == PREDICTIONS else [0, 0, 0, 1])
        producer.produce(cluster.settings.topic(topic), value, partition=partition)
    assert producer.flush(60) == 0
    cluster.apply(record)
    expected = replayed_alerts(record, events, tmp_path)
    for index in (0, 1):
        cluster.start(index)
    deadline = time.monotonic() + 60
    while len(cluster.alerts()) < len(expected) and time.monotonic() < deadline:
        time.sleep(1)
    time.sleep(3)
    for early in (False, True):
        assert transitions(cluster.alerts(), early) == transitions(expected, early), cluster.log()[-3000:]


@pytest.mark.parametrize("cluster", [{PREDICTIONS: 4, LABELS: 4}], indirect=True)
def test_another_partitioner_is_recognised_at_the_start(cluster, tmp_path):
    events, end = traffic(12, 2000)
    cluster.apply(RECORD)
    for topic, settings in ((PREDICTIONS, {"partitioner": "murmur2_random"}), (LABELS, {})):
        write(cluster, [event for event in events + end if event[0] == topic], request_key, **settings)
    cluster.start(0)
    assert_same(cluster.wait_for_predictions(predictions(events), "1m"), replayed(events + end, tmp_path))
    # It stays so, though what comes now is as it should be.
    assert cluster.stop() == [0]
    cluster.start(0)
    cluster.send([(PREDICTIONS, value) for topic, value in end])
    deadline = time.monotonic() + 60
    while counted(cluster, cluster.ports[-1], 'tidegauge_duplicate_total{topic="predictions"}') < len(end):
        assert time.monotonic() < deadline, cluster.log()[-4000:]
        time.sleep(0.5)
    assert cluster.log().count("are re-keyed") == 2


@pytest.mark.parametrize("cluster", [{PREDICTIONS: 4, LABELS: 4}], indirect=True)
def test_turned_on_where_topics_were_joined_as_they_are(cluster, tmp_path):
    """Events of before are not counted again, and labels of before and after find their predictions."""
    events, end = traffic(13, 2000)
    cluster.apply(RECORD)
    half = len(events) // 2
    cluster.supervise(0)
    cluster.send(events[:half])
    cluster.wait_for_predictions(int(predictions(events[:half]) * 0.8), "1m")
    assert cluster.stop() == [0]
    write(cluster, events[half:] + end, debezium_key)
    # Taking over from a task that read the topics itself fences that task's id, and the join may have it already: such a worker
    # ends, and its supervisor starts it again.
    for index in (0, 1):
        cluster.supervise(index, "--rekey")
    assert_same(cluster.wait_for_predictions(predictions(events), "1m"), replayed(events + end, tmp_path))


@pytest.mark.parametrize("cluster", [{PREDICTIONS: 4, LABELS: 4}], indirect=True)
def test_one_worker_turns_it_on_for_all(cluster, tmp_path):
    """While another joins the topics as they are: it is fenced off, starts anew and goes along."""
    events, end = traffic(15, 3000)
    cluster.apply(RECORD)
    thirds = [events[part * len(events) // 3 : (part + 1) * len(events) // 3] for part in range(3)]
    cluster.supervise(0)
    cluster.send(thirds[0])
    cluster.wait_for_predictions(int(predictions(thirds[0]) * 0.7), "1m")
    cluster.supervise(1, "--rekey")
    cluster.send(thirds[1], pause=0.5, step=100)
    deadline = time.monotonic() + 60
    while "since they were before" not in cluster.log():
        assert time.monotonic() < deadline, cluster.log()[-4000:]
        time.sleep(0.5)
    # What came earlier in other partitions was joined as it lay.
    write(cluster, thirds[2] + end, debezium_key)
    assert_same(cluster.wait_for_predictions(predictions(events), "1m"), replayed(events + end, tmp_path))


def test_dead_letters_say_where_they_came_from(cluster):
    bad = {
        b'{"request_id": "a"}': b"k1",
        b"{": b"",
        b"\xff": None,
        b'{"request_id": "b", "ts": -1, "model_version": "m:1"}': b"b",
    }
    producer = Producer({"bootstrap.servers": cluster.settings.bootstrap})
    places = {}

    def delivered(error, message):
        assert error is None
        places[message.value()] = (str(message.partition()), str(message.offset()))

    for value, key in bad.items():
        producer.produce(cluster.settings.topic(PREDICTIONS), value, key=key, on_delivery=delivered)
    assert producer.flush(30) == 0
    cluster.apply(RECORD)
    cluster.start(0)
    deadline = time.monotonic() + 60
    while len(letters := cluster.read("dead-letters")) < len(bad) and time.monotonic() < deadline:
        time.sleep(0.5)
    found = {letter.value: (letter.key, {name: of.decode() for name, of in letter.headers}) for letter in letters}
    assert {value: key for value, (key, _) in found.items()} == {value: key or None for value, key in bad.items()} | {b"{": b""}
    assert {value: (of["partition"], of["offset"]) for value, (_, of) in found.items()} == places
    assert {of["topic"] for _, of in found.values()} == {PREDICTIONS}


def test_kills_between_the_steps_of_a_checkpoint(cluster, tmp_path):
    """Two workers that kill -9 themselves at named points of the protocol, re-keying and joining, while traffic flows."""
    events, end = traffic(14, 4000)
    cluster.settings = msgspec.structs.replace(cluster.settings, rekey="always")
    cluster.apply(RECORD)
    plan = ",".join(f"{point}:0.06" for point in POINTS)

    def start(index):
        return cluster.start(index, "--rekey", TIDEGAUGE_CRASH=plan)

    workers = {index: start(index) for index in (0, 1)}
    deaths, parts = 0, 12
    step = len(events) // parts
    for part in range(parts):
        write(cluster, events[part * step : (part + 1) * step if part < parts - 1 else None], debezium_key)
        deaths += cluster.start_killed(workers, start, part // 3 - deaths)
    assert deaths >= 3
    for index, worker in workers.items():
        worker.kill()
        worker.wait()
        cluster.start(index)
    write(cluster, end, debezium_key)
    assert_same(cluster.wait_for_predictions(predictions(events), "1m"), replayed(events + end, tmp_path))
    assert_alternating(cluster.alerts())
