"""`tidegauge ingest`: receives CloudEvents by HTTP and joins requests and responses from all topics, or sends BentoML's
files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

import tidegauge
from tidegauge.client import Client
from tidegauge.engine.stage import DEAD_LETTERS, LABELS, MODELS, PREDICTIONS
from tidegauge.errors import StreamError
from tidegauge.ingest import bento_files, cloud_events, open_inference
from tidegauge.ingest.bento_files import BentoMonitor
from tidegauge.ingest.exchanges import Exchanges, SpecOf
from tidegauge.ingest.http_receiver import HttpReceiver, Keep
from tidegauge.ingest.joining import Joining
from tidegauge.ingest.messages import Message
from tidegauge.models import directory
from tidegauge.models.registry import Registry, registry_of
from tidegauge.spec import ModelSpec
from tidegauge.stream import metrics_export, models_topic
from tidegauge.stream.health_endpoints import Listen, serve
from tidegauge.stream.reading import partitions
from tidegauge.stream.settings import INFERENCES, Settings
from tidegauge.stream.shared_feed import SharedFeed

log = logging.getLogger(__name__)


class IngestOptions(msgspec.Struct, frozen=True):
    """``models``: directory of specs, None for those in the topic; ``topics``: further ones that messages are read from, by
    their names in Kafka; ``timeout``: seconds a request waits for its response; ``max_body``, ``max_waiting``: bytes."""

    at: Listen
    models: Path | None = None
    topics: tuple[str, ...] = ()
    timeout: float = 60.0
    max_body: int = 4 << 20
    max_waiting: int = 256 << 20


def specs_by_server(registry: Registry) -> SpecOf:
    """The spec of a model by its name at the server; a model that no spec names has the defaults."""
    revision = -1
    found: dict[str, ModelSpec] = {}

    def spec_of(server: str) -> ModelSpec:
        nonlocal revision, found
        if revision != registry.revision:
            revision = registry.revision
            specs = [registry.spec(model) for model in registry.models()]
            found = {spec.inputs.server or spec.model: spec for spec in specs}
        return found.get(server) or registry.spec(server)

    return spec_of


async def run(settings: Settings, options: IngestOptions) -> int:
    """Run until cancelled. Raises StreamError if topics, specs or the port cannot be used."""
    if any(topic.startswith("seldon.") for topic in options.topics):
        open_inference.available()
    await models_topic.ensure_topics(settings, (PREDICTIONS,))
    await models_topic.ensure_topic(settings, INFERENCES)
    for topic in options.topics:
        await partitions(settings, topic)
    async with _specs(settings, options.models) as spec_of:
        return await _run(settings, options, spec_of)


async def run_bentoml(settings: Settings, monitor: Path, models: Path | None, *, follow: bool) -> int:
    """Send the events in the files of a BentoML monitor, given its directory. Returns the exit status: 1 if a line was left
    out."""
    await models_topic.ensure_topics(settings, (PREDICTIONS, LABELS))
    topics = {name: settings.topic(name) for name in (PREDICTIONS, LABELS)}
    async with _specs(settings, models) as spec_of, Client(topics=topics, **settings.client()) as client:
        files = BentoMonitor(monitor, spec_of)
        sent = await bento_files.send(client, files, follow=follow)
    log.info("%d events sent, %d lines left out", sent, files.refused)
    return 1 if files.refused else 0


@contextlib.asynccontextmanager
async def _specs(settings: Settings, models: Path | None) -> AsyncIterator[SpecOf]:
    """The specs in a directory, or, if it is None, those in the topic as they change. Raises StreamError if that cannot be
    read."""
    if models is not None:
        yield specs_by_server(registry_of(directory.records_of(models)))
        return
    await partitions(settings, settings.topic(MODELS))
    registry = Registry()
    tail = models_topic.ModelsTail(settings, registry)
    await tail.start()
    try:
        yield specs_by_server(registry)
    finally:
        await tail.stop()


async def _run(settings: Settings, options: IngestOptions, spec_of: SpecOf) -> int:
    made = CollectorRegistry()
    Gauge("tidegauge_build_info", "Version of tidegauge", ["version"], registry=made).labels(tidegauge.__version__).set(1)
    ProcessCollector(registry=made)
    exchanges = Exchanges(spec_of, options.max_waiting)
    inferences = settings.topic(INFERENCES)
    feed = SharedFeed(settings, (inferences, *options.topics), f"{settings.app_id}-ingest", exchanges.forget)
    Gauge("tidegauge_ingest_lag_records", "Messages yet to be read", registry=made).set_function(lambda: feed.lag)
    topics = {INFERENCES: inferences} | {name: settings.topic(name) for name in (PREDICTIONS, DEAD_LETTERS)}
    async with Client(topics=topics, **settings.client()) as client:
        joining = Joining(exchanges, client, options.timeout, made)
        receiver = HttpReceiver(_keeper(client), spec_of, made)
        await feed.start()
        try:
            return await _serve(options, made, joining, receiver, feed)
        finally:
            await feed.stop()


async def _serve(
    options: IngestOptions, registry: CollectorRegistry, joining: Joining, receiver: HttpReceiver, feed: SharedFeed
) -> int:  # fmt: skip
    at = options.at
    pages = [web.post("/{path:.*}", receiver.answer)]
    try:
        server = await serve(
            at, registry, lambda: not receiver.away, more=pages, max_body=options.max_body
        )  # fmt: skip
    except OSError as error:
        raise StreamError(f"port {at.port} of {at.host} cannot be listened on: {error}; choose --listen") from error
    log.info("taking CloudEvents at %s:%d", at.host, at.port)
    try:
        stop_sending = await metrics_export.start(registry, at.port)
        work = asyncio.ensure_future(joining.run(feed))
        try:
            await work
        finally:
            work.cancel()
            await stop_sending()
    finally:
        await server.cleanup()
        log.info("stopped")
    return 0


def _keeper(client: Client) -> Keep:
    async def keep(message: Message) -> None:
        await (await client.send(INFERENCES, message.id.encode(), message.body, cloud_events.to_kafka(message)))

    return keep
