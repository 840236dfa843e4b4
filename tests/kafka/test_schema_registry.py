"""Events in a schema registry's formats, on a real Kafka with a real registry (Apicurio's, which speaks Confluent's REST API),
sent by Confluent's own serializers."""

import asyncio
import base64
import json
import os
import subprocess
import sys

import aiohttp
import pytest
import trustme
from aiohttp import web
from google.protobuf import descriptor_pb2

from support import framed
from support.cluster import Cluster
from support.schema_registry import SchemaRegistry, confluent_python
from support.servers import wait_for
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.client import Client
from tidegauge.engine.stage import LABELS, PREDICTIONS, Record
from tidegauge.errors import StreamError, UnavailableError
from tidegauge.serdes.protobuf_files import file_of
from tidegauge.stream.broker import free_port
from tidegauge.stream.schema_registry import registry_at

KINDS = ("AVRO", "PROTOBUF", "JSON")


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def shared(authority, tmp_path_factory):
    """Every test has subjects of its own in it."""
    directory = tmp_path_factory.mktemp("registry")
    server = authority.issue_cert("127.0.0.1")
    server.private_key_pem.write_to_path(directory / "key.pem")
    server.cert_chain_pems[0].write_to_path(directory / "server.pem")
    with SchemaRegistry(directory, directory / "server.pem", directory / "key.pem") as running:
        yield running


@pytest.fixture
def registry(shared):
    """One that runs, whatever the test before has done to it."""
    if not shared.running:
        shared.start()
    return shared


def events(seed, count):
    """(topic, event), with times as exact as a timestamp of microseconds, and those that end every window before them."""
    found, end = traffic(seed, count)
    read = [(topic, json.loads(value)) for topic, value in found + end]
    return [(topic, event | {"ts": round(event["ts"], 6)}) for topic, event in read]


def send(cluster, registry, given):
    """By Confluent's serializers: ``given`` are (topic, key, format, event)."""
    file, found = file_of(framed.schemas("PROTOBUF")[0]), descriptor_pb2.FileDescriptorSet()
    for needed in (*file.dependencies, file):
        needed.CopyToProto(found.file.add())
    names = {topic: cluster.settings.topic(topic) for topic in (PREDICTIONS, LABELS)}
    asked = {
        "bootstrap": cluster.settings.bootstrap,
        "registry": registry.url,
        "avro": {names[PREDICTIONS]: framed.AVRO_PREDICTION, names[LABELS]: framed.AVRO_LABEL},
        "json": {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Event", "type": "object"},
        "protobuf": base64.b64encode(found.SerializeToString()).decode(),
        "messages": {names[PREDICTIONS]: "shop.Prediction", names[LABELS]: "shop.Label"},
        "events": [
            (names[topic], key, kind, framed.for_protobuf(event) if kind == "PROTOBUF" else event)
            for topic, key, kind, event in given
        ],
    }
    done = subprocess.run(
        [confluent_python(), "tests/support/confluent_producer.py"], input=json.dumps(asked), text=True, capture_output=True,
        timeout=120, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def send_raw(cluster, values):
    """(topic, key, value), as they are."""

    async def run():
        async with Client(topics=cluster.settings.topics, **cluster.settings.client()) as client:
            for topic, key, value in values:
                await client.send(topic, key, value)

    asyncio.run(run())


def away_seconds(cluster):
    """For how long the worker says that it waits for the registry."""
    (line,) = [
        text for text in cluster.scrape(cluster.ports[0]).splitlines() if text.startswith("tidegauge_schema_registry_away")
    ]
    return float(line.split()[1])


BAD = [
    (PREDICTIONS, b"x", framed.framed(9999, b"{}")),
    (PREDICTIONS, b"y", framed.framed(1, b"\xff" * 30)),
    (LABELS, b"z", b"\0\0"),
]


@pytest.mark.parametrize("rekey", ["never", pytest.param("always", marks=pytest.mark.long)])
def test_formats_in_turns_give_the_metrics_of_plain_json(broker, tmp_path, registry, rekey):
    """The registry is away when the worker starts: records wait, none is lost or refused, and nothing counts as a standstill.
    With ``--rekey`` the keys say nothing, so that it has to be read from the values where an event belongs."""
    cluster = Cluster(broker, f"registry-{rekey}", tmp_path)
    cluster.apply(RECORD)
    given = events(11, 400)
    kinds = (*KINDS, "PLAIN")
    send(
        cluster, registry,
        [(topic, event["request_id"] if rekey == "never" else str(number % 7), kinds[number % 4], event)
         for number, (topic, event) in enumerate(given)],
    )  # fmt: skip
    send_raw(cluster, BAD)
    registry.stop()
    cluster.start(0, "--schema-registry", registry.url, "--rekey", rekey, "--stall-timeout", "8")
    wait_for(lambda: "records wait for schema" in cluster.log(), 60, "a word of the registry that is away")
    wait_for(lambda: away_seconds(cluster) > 10, 60, "more time than a standstill may take")
    assert not cluster.read("dead-letters")
    registry.start()
    count = sum(topic == PREDICTIONS for topic, _ in given)
    plain = [(topic, json.dumps(event).encode()) for topic, event in given]
    assert_same(cluster.wait_for_predictions(count - 64, "1m"), replayed(plain, tmp_path))
    assert "the schema registry answers again" in cluster.log()
    assert away_seconds(cluster) == 0
    assert "has not moved" not in cluster.log()
    letters = [(dict(record.headers), record.value) for record in cluster.read("dead-letters")]
    assert sorted((headers["reason"], value) for headers, value in letters) == sorted(
        (reason, value)
        for reason, (_, _, value) in zip((b"unknown_schema", b"not_decodable", b"not_decodable"), BAD, strict=True)
    )
    assert cluster.stop() == [0], cluster.log()[-3000:]


async def decoded(url, values):
    """The values of records as JSON, or the reasons why there are none; by a registry that has to answer at once."""
    async with registry_at(url) as client, asyncio.timeout(30):
        found = await client.decoded([Record(number, -1, None, value) for number, value in enumerate(values)])
        return [getattr(record, "reason", None) or record.value for record in found]


def test_a_registry_behind_tls_needs_the_right_authority(registry, authority, tmp_path, monkeypatch):
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": "long"}]}
    value = framed.framed(registry.register("r", json.dumps(schema), "AVRO"), b"\x06")
    monkeypatch.setenv("TIDEGAUGE_SCHEMA_REGISTRY_CAFILE", str(tmp_path / "authority.pem"))
    assert asyncio.run(decoded(registry.tls_url, [value])) == [b'{"x":3}']
    other = trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("TIDEGAUGE_SCHEMA_REGISTRY_CAFILE", str(tmp_path / "other.pem"))
    with pytest.raises(UnavailableError, match="certificate"):
        asyncio.run(check(registry.tls_url))


async def check(url):
    async with registry_at(url) as client:
        return await client.check()


def test_references_are_followed_and_an_address_that_is_no_registry_is_no_answer(registry):
    features = {"type": "record", "name": "Features", "namespace": "shop", "fields": [{"name": "age", "type": "long"}]}
    event = {"type": "record", "name": "E", "namespace": "shop", "fields": [{"name": "features", "type": "shop.Features"}]}
    registry.register("features", json.dumps(features), "AVRO")
    avro = registry.register("event", json.dumps(event), "AVRO", (("shop.Features", "features"),))
    common = 'syntax = "proto3"; package common; message Features { int64 age = 1; }'
    registry.register("common:one two", common, "PROTOBUF")
    text = 'syntax = "proto3"; import "common/features.proto"; message E { common.Features features = 1; }'
    protobuf = registry.register("proto", text, "PROTOBUF", (("common/features.proto", "common:one two"),))
    values = [framed.framed(avro, b"\x06"), framed.framed(protobuf, b"\x00\x0a\x02\x08\x03"), framed.framed(77, b"")]
    assert asyncio.run(decoded(registry.url, values)) == [b'{"features":{"age":3}}'] * 2 + ["unknown_schema"]
    assert set(asyncio.run(check(registry.url))) >= {"AVRO", "PROTOBUF", "JSON"}
    # A path that this server does not have is answered with 404, too; that is not the registry's word on a schema.
    with pytest.raises(TimeoutError):
        asyncio.run(decoded_soon(registry.url.removesuffix("v7") + "v99", values))


async def decoded_soon(url, values):
    async with registry_at(url) as client, asyncio.timeout(3):
        await client.decoded([Record(0, -1, None, value) for value in values])


def test_a_registry_with_basic_authentication_needs_the_right_password(registry, tmp_path, monkeypatch):
    """A real HTTP server before the registry demands basic authentication; the password is in a file."""
    (tmp_path / "password").write_text("s3cret\n")
    schema = registry.register("x", '{"type": "map", "values": "int"}', "AVRO")
    wanted = f"Basic {base64.b64encode(b'tidegauge:s3cret').decode()}"

    async def forward(request):
        if request.headers.get("Authorization") != wanted:
            return web.Response(status=401, text="who are you?")
        async with aiohttp.ClientSession() as session, session.get(registry.url + request.path) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async def run():
        server = web.Application()
        server.router.add_get("/{path:.*}", forward)
        runner = web.AppRunner(server)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            url = f"http://127.0.0.1:{port}"
            with pytest.raises(UnavailableError, match="401"):
                await check(url)
            monkeypatch.setenv("TIDEGAUGE_SCHEMA_REGISTRY_USERNAME", "tidegauge")
            monkeypatch.setenv("TIDEGAUGE_SCHEMA_REGISTRY_PASSWORD_FILE", str(tmp_path / "password"))
            return await decoded(url, [framed.framed(schema, b"\0")])
        finally:
            await runner.cleanup()

    assert asyncio.run(run()) == [b"{}"]
    monkeypatch.setenv("TIDEGAUGE_SCHEMA_REGISTRY_PASSWORD", "x")
    with pytest.raises(StreamError, match="set one"):
        asyncio.run(check(registry.url))


def doctor(cluster, *flags):
    """What it says of schemas and of the partitioner."""
    topics = {f"TIDEGAUGE_{name.upper()}_TOPIC": cluster.settings.topic(name) for name in ("predictions", "labels")}
    command = [sys.executable, "-m", "tidegauge", "doctor", "--bootstrap", cluster.settings.bootstrap]
    done = subprocess.run(
        [*command, "--app-id", cluster.name, *flags],
        env=os.environ | topics, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return {line.split()[1]: line for line in done.stdout.splitlines()}


def test_doctor_reads_records_by_their_schemas(broker, tmp_path, registry):
    cluster = Cluster(broker, "registry-doctor", tmp_path)
    cluster.apply(RECORD)
    given = [(topic, "wrong", "AVRO", event) for topic, event in events(5, 40)]
    send(cluster, registry, given)
    without = doctor(cluster)
    assert "start workers, and this command, with --schema-registry URL" in without["schemas"]
    with_it = doctor(cluster, "--schema-registry", registry.url)
    assert with_it["schemas"].startswith("ok"), with_it["schemas"]
    assert f"{len(given)} of the newest records were read" in with_it["schemas"]
    assert "keyed by something else than their request_id" in with_it["partitioner"]
    send_raw(cluster, BAD[:2])
    assert "2 of the newest" in doctor(cluster, "--schema-registry", registry.url)["schemas"]
    registry.stop()
    assert "Cannot connect" in doctor(cluster, "--schema-registry", registry.url)["schemas"]
