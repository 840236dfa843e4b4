"""What is done to topics while events flow: deleted, cut, narrowed, widened. Each ends in right numbers, or is refused with
what to do, and is right once that was done. What is gone for good is counted and told. The campaign's table has them too.
"""

import random
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from support.administration import administer, rebuild
from support.campaign import Workers, put_through
from support.cluster import AFTER_A_KILL, Cluster
from support.servers import wait_for
from support.topics import read
from tidegauge.engine.stage import DEAD_LETTERS, PREDICTIONS
from tidegauge.stream.settings import JOIN_CHANGELOG, MAX_MESSAGE_BYTES

REFUSAL = 120


def changelog_deleted(workers):
    cluster = workers.cluster
    administer(cluster, lambda admin: admin.delete_topics([cluster.settings.topic(JOIN_CHANGELOG)]))
    for index in (0, 1):
        wait_for(lambda of=index: "tidegauge state rebuild" in workers.log(of), REFUSAL, "a refusal that says what to do")
    made_anew(workers, "state", "rebuild")
    return "workers refuse and name `tidegauge state rebuild`, which was run"


def made_anew(workers, *command):
    """Run the command that makes state anew, between two lives of the workers."""
    for index in (0, 1):
        workers.end(index, refuses=True)
    until = time.monotonic() + AFTER_A_KILL + 15
    while (said := rebuild(workers.cluster, "--yes", command=command))[0] and time.monotonic() < until:
        time.sleep(1)
    assert said[0] == 0, said
    workers.told_again = True
    workers.start(0, 1)


def unread_input_deleted(workers):
    """By retention, as far as a broker tells: while nobody read it."""
    cluster = workers.cluster
    for index in (0, 1):
        workers.end(index)
    place = TopicPartition(cluster.settings.topic(PREDICTIONS), 2)

    async def committed(admin):
        return (await admin.list_consumer_group_offsets(cluster.name))[place].offset

    first = administer(cluster, committed)
    wait_for(lambda: len(unread(workers, place, first)) >= 40, 60, "records that nobody has read")
    gone = unread(workers, place, first)[:25]
    administer(cluster, lambda admin: admin.delete_records({place: RecordsToDelete(gone[-1].offset + 1)}))
    workers.lost = {(PREDICTIONS, record.value) for record in gone}
    workers.start(0, 1)
    told = wait_for(lambda: [dict(letter.headers) for letter in letters(workers)], 60, "a dead letter")
    assert [letter["reason"] for letter in told] == [b"gone"]
    assert told[0]["message"].startswith(b"gone: 25 records (offsets %d to %d)" % (gone[0].offset, gone[-1].offset))
    counted = [line for port in cluster.ports for line in cluster.scrape(port).splitlines() if "tidegauge_gone_total{" in line]
    assert 'tidegauge_gone_total{topic="predictions"} 25.0' in counted
    return "how many are gone is counted (`tidegauge_gone_total`) and told (a dead letter)"


def unread(workers, place, first):
    brokers = workers.cluster.settings
    return [record for record in read(brokers, place.topic) if record.partition == place.partition and record.offset >= first]


def letters(workers):
    return read(workers.cluster.settings, workers.cluster.settings.topic(DEAD_LETTERS))


def record_too_large(workers):
    narrow(workers, 3000)
    wait_for(
        lambda: "set its max.message.bytes to" in workers.log(0) + workers.log(1), REFUSAL, "a refusal that says what to do"
    )
    time.sleep(5)
    narrow(workers, MAX_MESSAGE_BYTES)
    return "workers end, name the topic and `max.message.bytes`, which was set right"


def narrow(workers, size):
    """How large records of a changelog may be."""
    name = workers.cluster.settings.topic(JOIN_CHANGELOG)
    resource = ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": str(size)})
    administer(workers.cluster, lambda admin: admin.alter_configs([resource]))


def partitions_added(workers):
    """To one of the two inputs: producers spread over six partitions from then on, those of labels over four."""
    name = workers.cluster.settings.topic(PREDICTIONS)
    administer(workers.cluster, lambda admin: admin.create_partitions({name: NewPartitions(6)}))
    command = "tidegauge repartition --partitions 6"
    wait_for(lambda: all(command in workers.log(index) for index in (0, 1)), REFUSAL, "a refusal that says what to do")
    made_anew(workers, "repartition", "--partitions", "6")
    return f"workers refuse and name `{command}`, which was run"


FAULTS = {
    "the topic of a changelog deleted": changelog_deleted,
    "unread input deleted": unread_input_deleted,
    "a changelog that takes no records of their size": record_too_large,
    "partitions added to one of the inputs": partitions_added,
}


@pytest.mark.long
@pytest.mark.parametrize("fault", [pytest.param(fault, id=run.__name__) for fault, run in FAULTS.items()])
def test_faults_of_topics_end_in_the_numbers_of_replay_or_are_refused(broker, table, tmp_path, fault):
    cluster = Cluster(broker, f"fault-{random.randrange(10**6)}", tmp_path)
    put_through(Workers(cluster, 7, supervised=True), fault, FAULTS[fault], table)
