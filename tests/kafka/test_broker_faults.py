"""Faults of brokers and of the network while events flow: three real brokers with three replicas, and a proxy that is a bad
network. Each against `replay`: the same numbers in the end, every alert transition once. The campaign's table has them too.
"""

import asyncio
import os
import random
import shutil
import signal
import time

import pytest
from aiokafka.protocol.metadata import MetadataRequest

from support.administration import administer
from support.campaign import Workers, put_through
from support.cluster import Cluster
from support.servers import wait_for
from support.three_brokers import NODES, ThreeBrokers
from tidegauge.stream import topics
from tidegauge.stream.settings import JOIN_CHANGELOG

REPETITIONS = int(os.environ.get("TIDEGAUGE_REPETITIONS", "2"))
OUTAGE = 12.0


@pytest.fixture(scope="module")
def brokers():
    with ThreeBrokers() as running:
        yield running


def leader(cluster, logical, partition):
    """The node that leads a partition of a topic."""

    (topic,) = administer(cluster, lambda admin: admin.describe_topics([cluster.settings.topic(logical)]))
    return next(part["leader"] for part in topic["partitions"] if part["partition"] == partition)


def broker_killed(workers, brokers):
    """It stays away until all is right: two are enough."""
    brokers.nodes[workers.rng.choice(NODES)].kill()
    time.sleep(OUTAGE)


def coordinator(cluster):
    """The node that coordinates the workers' group."""
    return administer(cluster, lambda admin: admin.find_coordinator(cluster.settings.app_id))


def broker_killed_in_a_restore(workers, brokers, chosen=lambda cluster: leader(cluster, JOIN_CHANGELOG, 0)):
    """The one that a task without a disk reads its changelog from, over a network so slow that it takes a while; or the one
    that is ``chosen`` meanwhile."""
    workers.end(0, signal.SIGTERM)
    shutil.rmtree(workers.disk(0))
    said, passed = workers.log(0).count("restored"), brokers.proxy.passed
    brokers.proxy.bytes_per_second = 30_000
    workers.start(0, flags=("--bootstrap", brokers.proxied))
    wait_for(lambda: brokers.proxy.passed > passed + 150_000, 60, "a restore under way")
    assert workers.log(0).count("restored") < said + 4
    brokers.nodes[chosen(workers.cluster)].kill()
    time.sleep(3)
    brokers.proxy.mend()
    wait_for(lambda: workers.log(0).count("restored") >= said + 4, 30, "the restore that was interrupted")
    time.sleep(OUTAGE)


def coordinator_killed_in_a_restore(workers, brokers):
    """The members of the group lose it, and those who take tasks over cannot ask what was committed."""
    broker_killed_in_a_restore(workers, brokers, coordinator)


def too_few_replicas(workers, brokers):
    """Two of three away: nothing can be written, and no leader be chosen."""
    for node in workers.rng.sample(NODES, 2):
        brokers.nodes[node].kill()
    time.sleep(OUTAGE)
    brokers.start()


def cut_off_beyond_its_session(workers, brokers):
    """Its partitions go to another, and what it had begun must not count when it is back."""
    brokers.proxy.cut()
    time.sleep(workers.cluster.settings.session_timeout + 6)
    brokers.proxy.mend()


def slow_and_lossy(workers, brokers):
    before = brokers.proxy.broken
    brokers.proxy.delay, brokers.proxy.bytes_per_second, brokers.proxy.loss = 0.1, 100_000, 0.01
    time.sleep(25)
    assert brokers.proxy.broken > before
    brokers.proxy.mend()


FAULTS = {
    "`kill -9` of one of three brokers, which stays away": broker_killed,
    "`kill -9` of a broker that a restore reads from": broker_killed_in_a_restore,
    "`kill -9` of the group's coordinator during a restore": coordinator_killed_in_a_restore,
    "two of three brokers away, then back (`min.insync.replicas` is 2)": too_few_replicas,
    "a worker cut off beyond its session, then back": cut_off_beyond_its_session,
    "100 ms more each way, 100 kB/s, connections that break": slow_and_lossy,
}
CASES = [pytest.param(fault, seed, id=f"{run.__name__}-{seed}") for fault, run in FAULTS.items() for seed in range(REPETITIONS)]


@pytest.mark.long
@pytest.mark.parametrize(("fault", "seed"), CASES)
def test_faults_of_the_broker_end_in_the_numbers_of_replay(brokers, table, tmp_path, fault, seed):
    cluster = Cluster(brokers, f"fault-{random.randrange(10**6)}", tmp_path)
    workers = Workers(cluster, seed, supervised=True)
    try:
        put_through(workers, fault, lambda of: FAULTS[fault](of, brokers), table, ("--bootstrap", brokers.proxied))
    finally:
        brokers.proxy.mend()
        brokers.start()


@pytest.mark.long
def test_a_topic_that_was_made_is_shown_by_every_broker(brokers, tmp_path):
    """Each learns of it in a moment of its own; the next command may ask any of them."""
    cluster = Cluster(brokers, f"made-{random.randrange(10**6)}", tmp_path)

    async def make(admin):
        for number in range(40):
            topic = topics.new(cluster.settings, f"{cluster.name}-{number}", 3)
            await topics.create(admin, [topic])
            for answer in await asyncio.gather(*(admin._send_request(MetadataRequest(None), node) for node in NODES)):
                assert topic.name in {of["topic"] for of in answer.to_object()["topics"]}, number

    administer(cluster, make)
