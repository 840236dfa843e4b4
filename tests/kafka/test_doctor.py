"""`tidegauge doctor` on a real Kafka: says nothing is wrong where nothing is, and of each broken set-up what and what to do."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.protocol.admin import CreateAclsRequest

from support.cluster import Cluster
from support.events import prediction
from support.topics import made
from support.traffic import RECORD
from tidegauge.models.registry import encode
from tidegauge.stream.broker import Broker, free_port
from tidegauge.stream.topics import ensure

SPEC = "model: churn\ntask: binary\nlabel_horizon: 7d\n"
TOPIC, GROUP, TRANSACTIONAL_ID = 2, 3, 5
LITERAL, PREFIXED = 3, 4
READ, WRITE, DESCRIBE_CONFIGS, ALLOW = 3, 4, 10, 3
"""Kafka's numbers of resources, patterns, operations and permissions."""


def examine(settings, *flags, **environment):
    """Exit status, and what is said of each check."""
    topics = {f"TIDEGAUGE_{name.upper().replace('-', '_')}_TOPIC": topic for name, topic in settings.topics.items()}
    done = subprocess.run(
        [sys.executable, "-m", "tidegauge", "doctor", "--bootstrap", settings.bootstrap, "--app-id", settings.app_id, *flags],
        env=os.environ | topics | environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    said = {line.split()[1]: line for line in done.stdout.splitlines()}
    assert len(said) == len(done.stdout.splitlines()), done.stdout
    assert done.returncode == int(any(line.startswith("WRONG") for line in said.values())), done.stdout + done.stderr
    return done.returncode, said


def wrong(said):
    return {check for check, line in said.items() if line.startswith("WRONG")}


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"doctor-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    return made


def administer(settings, *requests):
    async def run():
        admin = AIOKafkaAdminClient(**settings.client())
        await admin.start()
        try:
            for request in requests:
                await request(admin)
        finally:
            await admin.close()

    asyncio.run(run())


def configure(settings, topic, **values):
    resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic(topic), configs=values)
    administer(settings, lambda admin: admin.alter_configs([resource]))


def produce(settings, records):
    """(topic, key, value, partition, timestamp in seconds) as they are."""

    async def run():
        async with AIOKafkaProducer(**settings.client()) as producer:
            for topic, key, value, partition, timestamp in records:
                await producer.send_and_wait(
                    settings.topic(topic), value, key=key, partition=partition,
                    timestamp_ms=None if timestamp is None else int(timestamp * 1000),
                )  # fmt: skip

    asyncio.run(run())


def label(number, ts):
    return json.dumps({"request_id": f"r{number}", "ts": ts, "label": 1}).encode()


def events(count, ts):
    made = []
    for number in range(count):
        made.append(("predictions", json.dumps(prediction(number, ts)).encode()))
        made.append(("labels", label(number, ts)))
    return made


def test_a_sound_cluster_has_nothing_wrong(cluster, tmp_path):
    cluster.send(events(200, time.time()))
    status, said = examine(cluster.settings, "--state-dir", str(tmp_path / "state"))
    assert (status, wrong(said)) == (0, set())
    assert "400 records lie where murmur2" in said["partitioner"]
    assert "1 specs and 0 baselines" in said["baselines"]
    assert {"broker", "versions", "topics", "partitions", "replicas", "access", "settings", "retention", "clock", "state"} < {
        *said
    }


def test_the_doctor_leaves_no_record_behind(cluster):
    before = {topic: len(cluster.read(topic)) for topic in ("models", "alerts", "metrics", "dead-letters")}
    assert examine(cluster.settings)[0] == 0
    assert {topic: len(cluster.read(topic)) for topic in before} == before


def test_an_unreachable_broker_is_found(cluster):
    settings = type(cluster.settings)(bootstrap=f"127.0.0.1:{free_port()}", app_id=cluster.name)
    status, said = examine(settings)
    assert status == 1
    assert wrong(said) == {"broker"}
    assert "is it up, are the address and the TIDEGAUGE_SECURITY_" in said["broker"]


def test_before_a_worker_has_run_nothing_is_said_of_topics_that_are_not_there(broker, tmp_path):
    bare = Cluster(broker, f"doctor-{random.randrange(10**6)}", tmp_path)
    _, said = examine(bare.settings)
    assert wrong(said) == {"topics"}
    assert {*said} == {"state", "broker", "versions", "topics", "access"}
    assert "a worker creates what is missing" in said["topics"]


def test_topics_that_are_missing_and_do_not_fit(broker, tmp_path):
    bare = Cluster(broker, f"doctor-{random.randrange(10**6)}", tmp_path)
    for topic, partitions in (("predictions", 4), ("labels", 3), ("models", 2)):
        made(bare.settings, bare.settings.topic(topic), partitions=partitions)
    _, said = examine(bare.settings)
    assert wrong(said) == {"topics", "partitions", "settings"}
    assert f"{bare.name}-alerts" in said["topics"]
    assert f"{bare.name}-predictions has 4 partitions and {bare.name}-labels has 3" in said["partitions"]
    assert f"{bare.name}-models has 2 partitions" in said["partitions"]
    assert f"{bare.name}-models has cleanup.policy delete; set it to compact" in said["settings"]


def test_another_partitioner_and_missing_keys_are_found(cluster):
    now = time.time()
    misplaced = [("labels", b"r%d" % number, label(number, now), number % 4, None) for number in range(40)]
    produce(cluster.settings, [*misplaced, ("labels", None, label(99, now), 0, None)])
    _, said = examine(cluster.settings)
    assert wrong(said) == {"partitioner"}
    assert f"1 of the newest 41 records of {cluster.settings.topic('labels')} are without a key" in said["partitioner"]
    assert "set the producer's partitioner to murmur2_random (librdkafka)" in said["partitioner"]


def test_ids_that_name_several_requests_are_found(cluster):
    now = time.time()
    visits = [prediction("customer-7", now - 86400 * day, model="churn") for day in (2, 1)]
    again = prediction("customer-8", now, model="churn")
    produce(
        cluster.settings,
        [
            ("predictions", event["request_id"].encode(), json.dumps(event).encode(), None, None)
            for event in (*visits, again, again)
        ],
    )
    said = examine(cluster.settings)[1]
    assert wrong(said) == {"request_ids"}
    assert (
        f"1 of the newest 4 predictions have the request_id of an earlier request (as '{visits[0]['request_id']}')"
        in said["request_ids"]
    )


def test_scores_in_percent_are_found(cluster):
    now = time.time()
    events = [prediction(f"{member}-{number}", now, model_version=f"{member}:1", **{member: 60 + number})
              for member in ("score", "confidence") for number in range(20)]  # fmt: skip
    events += [prediction(f"sound-{number}", now, model_version="sound:1", score=number / 20) for number in range(21)]
    produce(
        cluster.settings,
        [("predictions", event["request_id"].encode(), json.dumps(event).encode(), None, None) for event in events],
    )
    said = examine(cluster.settings)[1]
    assert wrong(said) == {"scores"}
    for version in ("score:1", "confidence:1"):
        assert f"20 of the newest 20 predictions of {version} have a score outside 0 to 1" in said["scores"]
    assert "sound:1" not in said["scores"]


def test_what_is_kept_for_too_short_a_time(cluster):
    configure(cluster.settings, "labels", **{"retention.ms": str(86_400_000)})
    _, said = examine(cluster.settings)
    assert wrong(said) == {"retention"}
    assert "keeps events for 24 hours, less than the label horizon of 7 days" in said["retention"]
    assert "set its retention.ms to 604800000 or more" in said["retention"]


def test_state_that_a_topic_would_delete_by_its_size(tmp_path):
    with Broker(properties={"log.retention.bytes": str(64 << 20)}) as own:
        cluster = Cluster(own, "by-size", tmp_path)
        cluster.apply(RECORD)
        cluster.send(events(200, time.time()))
        administer(cluster.settings, lambda admin: ensure(admin, cluster.settings, 0.0))
        assert wrong(examine(cluster.settings)[1]) == set()
        configure(cluster.settings, "tidegauge-monitor-changelog", **{"retention.bytes": str(1 << 30)})
        _, said = examine(cluster.settings)
        assert wrong(said) == {"retention"}
        assert "monitor-changelog deletes by size what is still needed; set its retention.bytes to -1" in said["retention"]


def test_clocks_that_differ_are_found(cluster):
    now = time.time()
    early = ("predictions", b"r1", json.dumps(prediction(1, now + 600)).encode(), None, now + 600)
    produce(cluster.settings, [early, ("labels", b"r1", label(1, now + 7200), None, now)])
    _, said = examine(cluster.settings)
    assert wrong(said) == {"clock"}
    assert f"the newest record of {cluster.name}-predictions is " in said["clock"]
    assert f"ts in {cluster.name}-labels is 7200 s ahead of the records' own time" in said["clock"]


def test_baselines_of_another_format_and_specs(cluster, tmp_path):
    old = encode(RECORD).replace(b'"model":"churn"', b'"model":"churn","baselines":{"":{"format":"tidegauge-baseline/1"}}', 1)
    produce(cluster.settings, [("models", b"churn", old, 0, None)])
    (tmp_path / "models").mkdir()
    (tmp_path / "models/churn.yaml").write_text(SPEC + "segmints: [region]\n")
    _, said = examine(cluster.settings, "--models", str(tmp_path / "models"))
    assert wrong(said) == {"baselines", "specs"}
    assert "tidegauge-baseline/1" in said["baselines"]
    assert "tidegauge models apply DIR" in said["baselines"]
    assert "churn.yaml:4: segmints" in said["specs"]


def test_a_spec_that_is_not_published(cluster, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/churn.yaml").write_text(SPEC)
    _, said = examine(cluster.settings, "--models", str(tmp_path / "models"))
    assert wrong(said) == {"published"}
    assert "the spec of churn differs" in said["published"]


def test_a_state_directory_that_is_none(cluster, tmp_path):
    (tmp_path / "state").write_text("")
    _, said = examine(cluster.settings, "--state-dir", str(tmp_path / "state"))
    assert wrong(said) == {"state"}
    assert "is no directory: name another one with --state-dir" in said["state"]


@pytest.fixture(scope="module")
def guarded():
    """A broker that asks for a password and holds its users to ACLs; and the address of a listener for the administrator."""
    port, inside = free_port(), free_port()
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    properties = {
        "listeners": f"CLIENT://127.0.0.1:{port},INSIDE://127.0.0.1:{inside},CONTROLLER://127.0.0.1:{{controller}}",
        "inter.broker.listener.name": "INSIDE",
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.client.plain.sasl.jaas.config": f'{login} user_worker="right";',
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    broker = Broker(port=port)
    controller = broker._controller
    properties["listeners"] = properties["listeners"].format(controller=controller)
    properties["advertised.listeners"] = properties["listeners"]
    broker = Broker(port=port, properties=properties | {"controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}"})
    with broker:
        yield broker, f"127.0.0.1:{inside}"


def allow(settings, kind, name, *operations, pattern=LITERAL):
    requests = [CreateAclsRequest(kind, name, pattern, "User:worker", "*", operation, ALLOW) for operation in operations]

    async def create(admin):
        for request in requests:
            answer = await admin._send_to_controller(request)
            assert [code for code, _ in answer.creation_responses] == [0]

    administer(settings, create)


def test_missing_rights_are_found_until_they_are_granted(guarded, tmp_path):
    broker, inside = guarded
    cluster = Cluster(broker, "guarded", tmp_path)
    outside, cluster.settings = cluster.settings, type(cluster.settings)(
        bootstrap=inside, app_id=cluster.name, topics=cluster.settings.topics
    )  # fmt: skip
    cluster.apply(RECORD)
    login = {
        "TIDEGAUGE_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "TIDEGAUGE_SASL_USERNAME": "worker", "TIDEGAUGE_SASL_MECHANISM": "PLAIN",
    }  # fmt: skip
    _, said = examine(outside, **login, TIDEGAUGE_SASL_PASSWORD="wrong")
    assert wrong(said) == {"broker"}

    for topic in ("predictions", "models", "metrics", "alerts", "incidents", "dead-letters"):
        allow(cluster.settings, TOPIC, f"guarded-{topic}", READ, DESCRIBE_CONFIGS)
    allow(cluster.settings, TOPIC, "guarded-", WRITE, pattern=PREFIXED)
    allow(cluster.settings, TOPIC, "guarded-profiles", READ, DESCRIBE_CONFIGS)
    allow(cluster.settings, GROUP, "guarded", READ)
    _, said = examine(outside, **login, TIDEGAUGE_SASL_PASSWORD="right")
    assert wrong(said) == {"access"}
    assert "guarded-labels is refused (read: TopicAuthorizationFailedError)" in said["access"]
    assert "transactional id guarded-doctor is refused" in said["access"]
    assert "Write on transactional ids that begin with the app id" in said["access"]

    allow(cluster.settings, TRANSACTIONAL_ID, "guarded-", WRITE, pattern=PREFIXED)
    allow(cluster.settings, TOPIC, "guarded-", READ, DESCRIBE_CONFIGS, pattern=PREFIXED)
    status, said = examine(outside, **login, TIDEGAUGE_SASL_PASSWORD="right")
    assert (status, wrong(said)) == (0, set()), said
