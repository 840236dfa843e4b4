"""`tidegauge state rebuild` on a real broker: state that cannot be used is made anew, whatever the disks hold; a changelog that
is gone, and inputs that are, are refused with what to do."""

import asyncio
import json
import random
import time

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient

from support.administration import administer, rebuild
from support.cluster import AFTER_A_KILL, Cluster
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.stream import changelog, state_format
from tidegauge.stream.rekeying import place
from tidegauge.stream.settings import JOIN_CHANGELOG, REKEYED


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"rebuild-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def write(cluster, topic, partition, value, key=None):
    async def run():
        async with AIOKafkaProducer(**cluster.settings.client()) as producer:
            await producer.send_and_wait(cluster.settings.topic(topic), value=value, key=key, partition=partition)

    asyncio.run(run())


def ends_with(cluster, index, words):
    """A worker that starts says so in its log and ends with status 1 or 2."""
    worker = cluster.start(index)
    assert worker.wait(60) in (1, 2)
    log = (cluster.directory / f"worker-{index}.log").read_text()
    assert words in log, log[-3000:]


def counted(cluster, seed, count, *flags):
    """Traffic that a worker has counted before it was stopped, and its end."""
    events, end = traffic(seed, count)
    cluster.send(events + end)
    cluster.start(0, *flags)
    cluster.wait_for_predictions(sum(topic == PREDICTIONS for topic, _ in events), "1m")
    cluster.stop()
    return events, end


def alert_ids(cluster):
    return {(event["source"], event["id"], event["data"]["status"]) for event in cluster.alerts()}


@pytest.mark.long
def test_state_of_another_form_is_made_anew_on_disks_that_still_hold_it(cluster, tmp_path):
    events, end = traffic(51, 1500)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    cluster.send(events)
    cluster.start(0)
    cluster.send(end)
    cluster.wait_for_predictions(count, "1m")
    assert rebuild(cluster, "--yes")[0] == 1, "workers run"
    assert "stop them first" in rebuild(cluster, "--yes")[1]
    cluster.stop()
    fired = alert_ids(cluster)
    assert fired
    for partition in range(4):
        write(cluster, JOIN_CHANGELOG, partition, *changelog.encode({state_format.KEY: b"0"}))
    ends_with(cluster, 0, "tidegauge state rebuild")

    assert rebuild(cluster) == (1, "tidegauge: there is nobody to ask; say --yes\ntidegauge: nothing was changed\n")
    deadline = time.monotonic() + AFTER_A_KILL + 15
    while (said := rebuild(cluster, "--yes"))[0] and time.monotonic() < deadline:
        time.sleep(1)
    assert said[0] == 0, said
    # Worker 0 has its old disk, worker 1 none.
    cluster.start(0)
    cluster.start(1)
    expected = replayed(events + end, tmp_path)
    deadline = time.monotonic() + 60
    while len(cluster.alerts()) < 2 * len(fired) and time.monotonic() < deadline:
        time.sleep(1)
    assert_same(cluster.wait_for_predictions(count, "1m"), expected)
    # What was told is told again under the same ids, by which it is known as a repeat.
    assert alert_ids(cluster) == fired


def test_a_changelog_that_is_gone_is_refused_and_made_anew(cluster, tmp_path):
    events, end = counted(cluster, 52, 600)
    before = json.dumps(sorted((key.decode(), record["revision"]) for key, record in cluster.metrics().items()))
    name = cluster.settings.topic(JOIN_CHANGELOG)
    administer(cluster, lambda admin: admin.delete_topics([name]))
    deadline = time.monotonic() + 30
    while name in administer(cluster, lambda admin: admin.list_topics()) and time.monotonic() < deadline:
        time.sleep(0.5)
    administer(cluster, lambda admin: admin.create_topics([NewTopic(name, 4, 1)]))
    ends_with(cluster, 0, "tidegauge state rebuild")
    assert json.dumps(sorted((key.decode(), record["revision"]) for key, record in cluster.metrics().items())) == before
    time.sleep(1)
    deadline = time.monotonic() + AFTER_A_KILL + 15
    while (said := rebuild(cluster, "--yes"))[0] and time.monotonic() < deadline:
        time.sleep(1)
    assert said[0] == 0, said
    cluster.start(0)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m"), replayed(events + end, tmp_path))


def test_offsets_that_are_gone_are_refused_so_that_nothing_counts_twice(cluster):
    """Kafka forgets the offsets of a group that had no member for a week."""
    counted(cluster, 55, 300)
    admin = AdminClient({"bootstrap.servers": cluster.settings.bootstrap})

    def deleted():
        """Kafka refuses that while the group has members."""
        (answer,) = admin.delete_consumer_groups([cluster.settings.app_id]).values()
        return answer.exception() is None

    wait_for(deleted, 60, "an end of the group")
    ends_with(cluster, 0, "tidegauge state rebuild")
    assert "so that nothing counts twice" in cluster.log().lower()


@pytest.mark.long
def test_offsets_of_re_keyed_inputs_that_are_gone_are_refused(cluster, tmp_path):
    """Those of the join are still there, so nothing but its state says that the inputs were re-keyed before."""
    events, end = counted(cluster, 56, 300, "--rekey")
    beginning = [Place(cluster.settings.topic(topic), number, 0) for topic in (PREDICTIONS, LABELS) for number in range(4)]
    admin = AdminClient({"bootstrap.servers": cluster.settings.bootstrap})
    reset = ConsumerGroupTopicPartitions(cluster.settings.app_id, beginning)

    def altered():
        """Kafka refuses that while the group has members."""
        (answer,) = admin.alter_consumer_group_offsets([reset]).values()
        return answer.exception() is None

    wait_for(altered, 60, "an end of the group")
    ends_with(cluster, 0, "So that nothing counts twice")
    deadline = time.monotonic() + AFTER_A_KILL + 15
    while (said := rebuild(cluster, "--yes"))[0] and time.monotonic() < deadline:
        time.sleep(1)
    assert said[0] == 0, said
    cluster.start(0)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m"), replayed(events + end, tmp_path))


def test_what_was_re_keyed_twice_is_refused(cluster):
    """As where re-keying had caught up again before the join looked at its offsets."""
    counted(cluster, 57, 300, "--rekey")
    worker = cluster.start(0)
    wait_for(lambda: "goes on at" in cluster.log(), 60, "a task that was taken over")
    assert worker.poll() is None
    repeated = next(iter(cluster.read(REKEYED[PREDICTIONS])))
    (partition,) = place([repeated], 0, 4).partitions
    write(cluster, REKEYED[PREDICTIONS], partition, repeated.value, repeated.key)
    assert worker.wait(60) == 1
    assert "was re-keyed a second time" in cluster.log()
    ends_with(cluster, 0, "tidegauge state rebuild")


def test_inputs_that_retention_has_cut_are_refused_and_named(cluster):
    counted(cluster, 53, 400)
    place = TopicPartition(cluster.settings.topic(PREDICTIONS), 2)
    administer(cluster, lambda admin: admin.delete_records({place: RecordsToDelete(7)}))
    deadline = time.monotonic() + AFTER_A_KILL + 15
    while "stop them first" in (said := rebuild(cluster, "--yes"))[1] and time.monotonic() < deadline:
        time.sleep(1)
    assert said[0] == 1
    assert f"{place.topic}[2]: 7 records" in said[1]
    assert "--accept-loss" in said[1]
    status, said = rebuild(cluster, "--yes", "--accept-loss")
    assert status == 0, said
    assert f"gone for good: {place.topic}[2]: 7 records" in said


@pytest.mark.parametrize("rekeyed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_more_partitions_lose_no_request_that_waits(cluster, tmp_path, rekeyed):
    """Labels of the second half are of predictions of the first, which lie in other partitions than they would now."""
    events, end = traffic(54, 1200)
    predictions = [event for event in events if event[0] == PREDICTIONS]
    labels = [event for event in events if event[0] != PREDICTIONS]
    half = len(labels) // 2
    flags = ("--rekey",) if rekeyed else ()
    cluster.start(0, *flags)
    cluster.send(predictions + labels[:half])
    deadline = time.monotonic() + 60
    read = 'tidegauge_events_total{topic="labels"} '
    while read not in cluster.scrape(cluster.ports[0]) and time.monotonic() < deadline:
        time.sleep(1)
    cluster.stop()
    command = ("repartition", "--partitions", "7")
    deadline = time.monotonic() + AFTER_A_KILL + 15
    while "stop them first" in (said := rebuild(cluster, "--yes", command=command))[1] and time.monotonic() < deadline:
        time.sleep(1)
    assert said[0] == 0, said
    cluster.start(0)
    cluster.start(1)
    # Producers spread over seven partitions from now on.
    cluster.send(labels[half:] + end)
    found = cluster.wait_for_predictions(len(predictions), "1m")
    assert_same(found, replayed(events + end, tmp_path))
    counts = administer(cluster, lambda admin: admin.describe_topics([cluster.settings.topic(JOIN_CHANGELOG)]))
    assert [len(topic["partitions"]) for topic in counts] == [7]
    cluster.stop()
    status, said = rebuild(cluster, "--yes", command=("repartition", "--partitions", "3"))
    assert status == 2
    assert "7 partitions already" in said or "stop them first" in said
