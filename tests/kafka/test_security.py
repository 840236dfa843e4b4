"""Every way into a Kafka that lets nobody in unproved, as its users have it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka.admin import AclOperation, ResourcePatternType, ResourceType

from support.bridges import Bridge
from support.cluster import Cluster
from support.events import START
from support.inference import kserve, v1
from support.ingest_command import Ingest
from support.secured import PASSWORD, SecuredBroker, TokenServer, variables
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.alert.operations import OPERATIONS
from tidegauge.engine.stage import INCIDENTS, LABELS, PREDICTIONS
from tidegauge.stream import models_topic
from tidegauge.stream.changelog import MIN_DELETED, RollingSnapshot
from tidegauge.stream.following import OperationsLog
from tidegauge.stream.settings import INFERENCES, Settings
from tidegauge.stream.store import RocksStore

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
ALL = [
    (kind, "*", ResourcePatternType.LITERAL, AclOperation.ALL)
    for kind in (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)
]


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    tokens = TokenServer(seconds=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_TOOL_OPTIONS", f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={tokens.url}/keys")
        made = SecuredBroker(tmp_path_factory.mktemp("secured"), tokens)
        with made.broker:
            made.user()
            made.allow(ALL)
            yield made
    tokens.close()


LONG = [pytest.param(mechanism, marks=pytest.mark.long) for mechanism in ("PLAIN", "SCRAM-SHA-256")]


@pytest.mark.parametrize("mechanism", ["TLS", "SCRAM-SHA-512", "OAUTHBEARER", *LONG])
def test_events_in_and_numbers_out(secured, tmp_path, mechanism):
    """Client, models' topic, worker (Faust's consumer, transactions, administration) and readers, all by the same settings."""
    address, security = secured.security(mechanism)
    cluster = Cluster(secured.broker, f"secured-{random.randrange(10**6)}", tmp_path)
    cluster.settings = Settings(bootstrap=address, app_id=cluster.name, topics=cluster.settings.topics, security=security)
    cluster.apply(RECORD)
    events, end = traffic(23, 600)
    half = len(events) // 2
    cluster.send(events[:half])
    cluster.start(0, **variables(security))
    given = secured.tokens.given
    cluster.send(events[half:])
    if mechanism == "OAUTHBEARER":
        # The broker ends what it let in by a token when that is spent.
        wait_for(lambda: secured.tokens.given > given + 6, 120, "new tokens while it runs")
    cluster.send(end)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m"), replayed(events + end, tmp_path))
    commands = [" ".join(of.cmdline()) for of in psutil.Process().children(recursive=True)]
    assert any(cluster.name in command for command in commands)
    said = [cluster.scrape(cluster.ports[0]), *commands]
    assert "tidegauge_events_total" in said[0]
    cluster.stop()
    assert not [of for of in (*said, cluster.log()) if PASSWORD in of]


# -- rights ------------------------------------------------------------------------------------------------------

KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "transactional id": ResourceType.TRANSACTIONAL_ID}


def rights_of(command, cluster):
    """(kind, name, pattern, operation) of each right docs/security.md gives a command, by this application's names."""
    found = []
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or cells[0] != f"`{command}`":
            continue
        _, kind, name, operations = cells
        pattern = ResourcePatternType.PREFIXED if name.endswith("*") else ResourcePatternType.LITERAL
        name = name.removesuffix("*")
        name = name.replace("tidegauge", cluster.name) if name.startswith("tidegauge") else cluster.settings.topics[name]
        found += [(KINDS[kind], name, pattern, AclOperation[part.strip().upper()]) for part in operations.split(",")]
    assert found, f"{DOCUMENT} has no rights of {command}"
    return found


@pytest.fixture(scope="module")
def filled(secured, tmp_path_factory):
    """An application that has run: all its topics are there."""
    directory = tmp_path_factory.mktemp("filled")
    cluster = Cluster(secured.broker, "rights", directory)
    cluster.settings = Settings(bootstrap=secured.inside, app_id="rights", topics=cluster.settings.topics)
    cluster.apply(RECORD)
    events, end = traffic(31, 400)
    cluster.send(events + end)
    cluster.start(0)
    cluster.wait_for_predictions(sum(topic == PREDICTIONS for topic, _ in events), "1m")
    cluster.stop()
    asyncio.run(make_console_topics(cluster.settings))
    (directory / "models").mkdir()
    for name, topic in (("p", PREDICTIONS), ("l", LABELS)):
        lines = [value for of, value in events[:50] if of == topic]
        (directory / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    return cluster


async def make_console_topics(settings):
    operations = OperationsLog(settings)
    await operations.start()
    await operations.stop()


def run(secured, cluster, command, flags=()):
    """Exit status and all that is said by a command of the user whose rights are examined."""
    # A spec that is published already is not written again.
    (cluster.directory / "models" / "other.yaml").write_text(
        f"model: other\ntask: binary\nintended_use: run {random.random()}\n"
    )
    address, security = secured.security("SCRAM-SHA-512")
    topics = [part for topic, name in cluster.settings.topics.items() for part in (f"--{topic}-topic", name)]
    flags = [*command.split(), *flags, "--bootstrap", address, "--app-id", cluster.name, *topics]
    done = subprocess.run(
        [sys.executable, "-m", "tidegauge", *flags],
        env=os.environ | variables(security), capture_output=True, text=True, timeout=120, cwd=cluster.directory,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


COMMANDS = {
    "models apply": ["models"],
    "models list": [],
    "produce": ["--predictions", "p.jsonl", "--labels", "l.jsonl"],
    "alerts": [],
    "incidents": [],
    "report": ["--model", RECORD.model, "--from", "2025-09-27", "--to", "2025-09-28"],
    "card": [RECORD.model],
    "forget": ["r1", "--yes"],
}


GOES_WITHOUT = {"report": {INCIDENTS: True, OPERATIONS: False}, "alerts": {INCIDENTS: True}}
"""Topics that a command does without, and whether it says so: marks are not there before somebody sets one."""


SOME = [1, pytest.param(100, marks=pytest.mark.long)]
"""How many rights are left out in turn, if there are as many."""


def some_of(rights, count):
    return random.Random(17).sample(rights, min(count, len(rights)))


@pytest.mark.parametrize("count", SOME)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_needs_the_rights_of_the_document_and_no_less(secured, filled, command, count):
    rights = rights_of(command, filled)
    secured.allow(rights)
    status, said = run(secured, filled, command, COMMANDS[command])
    assert status == 0, said
    assert PASSWORD not in said
    for left_out in some_of(rights, count):
        secured.allow([right for right in rights if right != left_out])
        status, said = run(secured, filled, command, COMMANDS[command])
        told = {filled.settings.topic(topic): of for topic, of in GOES_WITHOUT.get(command, {}).items()}
        assert bool(status) != (left_out[1] in told), f"{left_out}: {said}"
        assert (left_out[1] in said) == told.get(left_out[1], True), f"{left_out}: {said}"
        assert "Traceback" not in said


@contextlib.contextmanager
def limited_user(secured, filled):
    """The deployment as of a user with the rights that ``secured.allow`` gives; the user's security."""
    address, security = secured.security("SCRAM-SHA-512")
    inside = filled.settings
    filled.settings = Settings(bootstrap=address, app_id="rights", topics=inside.topics, security=security)
    try:
        yield security
    finally:
        filled.settings = inside
        filled.stop()


@pytest.mark.parametrize("count", SOME)
def test_a_worker_needs_the_rights_of_the_document_and_no_less(secured, filled, count):
    rights = rights_of("worker", filled)
    with limited_user(secured, filled) as security:
        for number, left_out in enumerate([None, *some_of(rights, count)]):
            secured.allow([right for right in rights if right != left_out])
            log = filled.directory / f"worker-{number}.log"
            worker = filled.start(number, **variables(security))
            port = filled.ports[-1]
            wait_for(lambda: worker.poll() is not None or ready(port), 60, "an end or a start")  # noqa: B023
            if left_out is None:
                assert worker.poll() is None, log.read_text()
                filled.stop()
                continue
            wait_for(lambda: worker.poll() is not None, 60, f"an end without {left_out}\n{log.read_text()}")  # noqa: B023
            assert left_out[1] in log.read_text(), f"{left_out} is not named"


def ready(port):
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200
    return False


def test_a_changelog_that_may_not_be_shortened_stops_nothing(secured, filled, tmp_path, caplog):
    secured.allow([right for right in ALL if right[0] != ResourceType.TOPIC])
    address, security = secured.security("SCRAM-SHA-512")
    place = TopicPartition("rights-join-changelog", 0)

    async def commit():
        admin = AIOKafkaAdminClient(**Settings(bootstrap=address, security=security).client())
        await admin.start()
        try:
            sweep = RollingSnapshot(RocksStore(tmp_path / "store"), None)
            await sweep.committed(10 * MIN_DELETED, True, admin, place)
        finally:
            await admin.close()

    asyncio.run(commit())
    assert "rights-join-changelog is not shortened" in caplog.text


@pytest.mark.parametrize("count", SOME)
@pytest.mark.parametrize("command", ["notify", "history", "act"])
def test_a_bridge_needs_the_rights_of_the_document_and_no_less(secured, filled, command, count):
    rights = rights_of(command, filled)
    with limited_user(secured, filled) as security:
        for left_out in [None, *some_of(rights, count)]:
            secured.allow([right for right in rights if right != left_out])
            with Bridge(filled, command, **variables(security)).start() as bridge:
                if left_out is None:
                    # It listens once it has read its topics from where it left off.
                    wait_for(lambda: bridge.get("/metrics"), 60, f"a start\n{bridge.log.read_text()}")
                else:
                    assert bridge.process.wait(60)
                    assert left_out[1] in bridge.log.read_text(), f"{left_out} is not named"


@pytest.mark.long
def test_ingest_needs_the_rights_of_the_document_and_no_less(secured, filled):
    rights = rights_of("ingest", filled)
    asyncio.run(models_topic.ensure_topic(filled.settings, INFERENCES))
    with limited_user(secured, filled) as security:
        for left_out in [None, *rights]:
            secured.allow([right for right in rights if right != left_out])
            ingest = Ingest(filled, **variables(security))
            ingest.launch()
            try:
                drive(ingest, left_out and left_out[1])
            finally:
                ingest.kill()


def drive(ingest, left_out):
    """An exchange that becomes an event and one that becomes a dead letter; what may not be touched is named in the log."""
    wait_for(lambda: ingest.process.poll() is not None or ingest.ask("/healthz")[0] == 200, 60, "an end or a start")
    for kind, member, rows in (("request", "instances", 1), ("response", "predictions", 2)):
        for id_, count in (("good", 1), ("bad", rows)):
            answer = ingest.ask("/", kserve(kind, f"{ingest.port}{id_}", START), v1(member, [1] * count))
            assert left_out is not None or answer == (200, "1 taken\n")
    if left_out is not None:
        wait_for(lambda: left_out in ingest.log.read_text(), 60, f"{left_out} in {ingest.log}")
        return
    wait_for(lambda: ingest.number("tidegauge_ingest_events_total") == 1, 60, "the event")
    wait_for(lambda: ingest.number("tidegauge_ingest_refused_total", reason="bad_inference") == 1, 60, "the dead letter")
