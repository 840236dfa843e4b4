"""`tidegauge act` on a real Kafka: what the spec asks for is done once, whoever dies, and a rollback does not flap."""

from __future__ import annotations

import asyncio
import hmac
import json
import random

import pytest
from aiokafka import AIOKafkaProducer

from support.administration import administer
from support.alert_events import alert_event
from support.bridges import Bridge
from support.cluster import Cluster
from support.hooks import Receiver
from support.schemas import mistakes
from support.servers import wait_for
from tidegauge.alert.operations import AUDIT
from tidegauge.models.registry import ModelRecord
from tidegauge.spec import Actions, ModelSpec
from tidegauge.stream import models_topic

SECRET = "s3cret-of-the-hook"


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"act-{random.randrange(10**6)}", tmp_path)
    asyncio.run(models_topic.ensure_topics(made.settings))
    return made


def acting(cluster):
    return Bridge(cluster, "act", TIDEGAUGE_HOOK_SECRET=SECRET)


def send(cluster, *events):
    async def run():
        async with AIOKafkaProducer(**cluster.settings.client()) as producer:
            for key, value in events:
                await producer.send_and_wait(cluster.settings.topic("alerts"), value, key=key)

    asyncio.run(run())


def entries(cluster):
    """The audit's, but for those of starts."""
    found = [json.loads(record.value) for record in cluster.read(AUDIT)]
    assert all(mistakes("audit-entry", entry) == [] for entry in found)
    return [entry for entry in found if entry["action"] != "begin to act"]


def all_done(cluster):
    """Whether every alert event is committed: what is not is done again after a kill."""
    group = f"{cluster.settings.app_id}-act"
    offsets = administer(cluster, lambda admin: admin.list_consumer_group_offsets(group))
    return sum(of.offset for of in offsets.values()) == len(cluster.read("alerts"))


def outcomes(cluster):
    return [(entry["action"], entry["outcome"]) for entry in entries(cluster)]


def test_a_hook_is_called_once_when_its_alert_begins(cluster):
    with Receiver(503, 200, 200, 403) as receiver:
        cluster.apply(ModelRecord("churn", ModelSpec("churn", task="binary", on=Actions(retrain={"auc": receiver.url}))))
        send(cluster, alert_event("auc", "firing", 1))
        with acting(cluster).start().wait_ready() as act:
            # It began before anybody acted.
            send(cluster, alert_event("auc", "resolved", 2), alert_event("other", "firing", 1))
            send(cluster, alert_event("auc", "firing", 3), alert_event("auc", "firing", 4, severity="warning"))
            wait_for(lambda: outcomes(cluster) == [("retrain", "accepted"), ("retrain", "done")], what="the first call")
            wait_for(lambda: all_done(cluster), what="a commit")
            act.kill()
        send(cluster, alert_event("auc", "firing", 5))
        with acting(cluster).start().wait_ready() as act:
            send(cluster, alert_event("auc", "resolved", 6), alert_event("auc", "firing", 7))
            wait_for(lambda: len(outcomes(cluster)) == 4, what="the second call")
            send(cluster, alert_event("auc", "resolved", 8), alert_event("auc", "firing", 9))
            wait_for(lambda: len(outcomes(cluster)) == 6, what="the third call")
            assert act.number('tidegauge_act_actions_total{action="retrain",outcome="refused"}') == 1
        ids = [json.loads(alert_event("auc", "firing", number)[1])["id"] for number in (3, 3, 7, 9)]
        assert [headers["X-Tidegauge-Delivery"] for headers, _ in receiver.received] == ids
        for headers, body in receiver.received:
            said = json.loads(body)
            assert {"action": "retrain", "model": "churn", "id": headers["X-Tidegauge-Delivery"]}.items() <= said.items()
            assert said["labels"]["alertname"] == "auc"
            expected = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
            assert headers["X-Tidegauge-Signature"] == f"sha256={expected}"
        assert outcomes(cluster)[2:] == [("retrain", of) for of in ("accepted", "done", "accepted", "refused")]
        assert entries(cluster)[1]["details"]["answer"] == "the hook answered 200: said 200"


def worse(version, champion, sequence, status="firing"):
    labels = {"alertname": "rollout", "model": "churn", "model_version": version, "segment": ""}
    evidence = {"segments": [], "features": [], "request_ids": [], "comparison": {
        "champion": champion, "verdict": "roll back", "since": "2025-09-27T00:00:00Z", "windows": 3, "metrics": {},
    }}  # fmt: skip
    return alert_event("rollout", status, sequence, kind="rollout", labels=labels, fingerprint=f"{version}", evidence=evidence)


def test_a_rollback_is_made_once_and_does_not_flap(cluster):
    with Receiver(200) as receiver:
        cluster.apply(
            ModelRecord("churn", ModelSpec("churn", task="binary", rollback=receiver.url, on=Actions(rollout="roll_back")))
        )
        with acting(cluster).start().wait_ready() as act:
            send(cluster, worse("churn:2", "churn:1", 1))
            wait_for(lambda: outcomes(cluster)[-1:] == [("roll back", "done")], what="the rollback")
            # The verdict comes again, and then the other way round.
            send(cluster, worse("churn:2", "churn:1", 2, "resolved"), worse("churn:2", "churn:1", 3))
            send(cluster, worse("churn:1", "churn:2", 1))
            wait_for(lambda: outcomes(cluster)[-1:] == [("roll back", "refused")], what="the refusal")
            wait_for(lambda: all_done(cluster), what="a commit")
            act.kill()
        with acting(cluster).start().wait_ready():
            send(cluster, worse("churn:2", "churn:1", 4, "resolved"), worse("churn:2", "churn:1", 5))
            send(cluster, worse("churn:1", "churn:2", 2, "resolved"), worse("churn:1", "churn:2", 3))
            wait_for(lambda: len(outcomes(cluster)) == 4, what="the second refusal")
            wait_for(lambda: all_done(cluster), what="the last event")
        assert outcomes(cluster) == [("roll back", of) for of in ("accepted", "done", "refused", "refused")]
        ((headers, body),) = receiver.received
        first = json.loads(worse("churn:2", "churn:1", 1)[1])["id"]
        assert json.loads(body) == {"action": "roll_back", "model": "churn", "id": first, "to": "churn:1"}
        assert headers["X-Tidegauge-Delivery"] == first
        assert "people decide" in entries(cluster)[-1]["reason"]


def test_without_the_member_nothing_is_done(cluster):
    with Receiver() as receiver:
        cluster.apply(ModelRecord("churn", ModelSpec("churn", task="binary", rollback=receiver.url)))
        with acting(cluster).start().wait_ready():
            send(cluster, worse("churn:2", "churn:1", 1), alert_event("auc", "firing", 1))
            wait_for(lambda: all_done(cluster), what="the events")
        assert entries(cluster) == []
        assert receiver.received == []
