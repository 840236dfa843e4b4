"""The topics of deploy/kubernetes/strimzi are the ones that workers and the console make themselves, on a real Kafka."""

import asyncio

import pytest
import yaml
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from support.deployment import ROOT
from tidegauge.stream.following import OperationsLog
from tidegauge.stream.models_topic import ensure_topic
from tidegauge.stream.settings import INFERENCES, Settings
from tidegauge.stream.topics import ensure

TOPICS = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/strimzi/topics.yaml").read_text()))
SET_ON_THE_TOPIC = 1
"""Kafka's number for where a configuration comes from: the topic's own."""


async def made(settings):
    """(partitions, own configuration) of all topics, by name, once the programs have made them."""
    operations = OperationsLog(settings)
    await operations.start()
    await operations.stop()
    await ensure_topic(settings, INFERENCES)
    admin = AIOKafkaAdminClient(**settings.client())
    await admin.start()
    try:
        await ensure(admin, settings, 0.0)
        names = [topic["metadata"]["name"] for topic in TOPICS]
        described = await admin.describe_topics([settings.topic(name) for name in names])
        counts = {of["topic"]: len(of["partitions"]) for of in described}
        answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(n)) for n in names])
        configs = {
            name: {entry[0]: entry[1] for entry in entries if entry[3] == SET_ON_THE_TOPIC}
            for answer in answers
            for _, _, _, name, entries in answer.resources
        }
        return {name: (counts[settings.topic(name)], configs[settings.topic(name)]) for name in names}, set(settings.all_topics)
    finally:
        await admin.close()


@pytest.mark.timeout(120)
def test_topics_are_what_the_programs_would_make(broker):
    own = [topic["metadata"]["name"] for topic in TOPICS]
    # Names of its own, beside those of other tests.
    names = {name: f"strimzi-{name}" for name in own}
    settings = Settings(bootstrap=broker.bootstrap, app_id="strimzi", partitions=12, topics=names)
    found, needed = asyncio.run(made(settings))
    assert needed <= set(own)
    for topic in TOPICS:
        spec, name = topic["spec"], topic["metadata"]["name"]
        assert found[name] == (spec["partitions"], {key: str(value) for key, value in spec.get("config", {}).items()})
