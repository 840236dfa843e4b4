"""`tidegauge forget` on a real broker: no state or page names the requests any more, and the numbers are `replay`'s."""

import json
import os
import random
import re
import subprocess
import sys
import time

import pytest

from support.changelogs import live_pairs
from support.cluster import TOPICS, Cluster
from support.schemas import mistakes
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.alert.operations import AUDIT, OPERATIONS
from tidegauge.console.view import View
from tidegauge.engine.forgotten import digest_of
from tidegauge.engine.stage import ALERTS, DEAD_LETTERS, LABELS, PREDICTIONS
from tidegauge.stream.settings import JOIN_CHANGELOG, MONITOR_CHANGELOG


@pytest.fixture
def cluster(broker, tmp_path):
    made = Cluster(broker, f"forget-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def forget(cluster, *flags):
    topics = [part for topic in TOPICS for part in (f"--{topic}-topic", cluster.settings.topic(topic))]
    command = [sys.executable, "-m", "tidegauge", "forget", "--bootstrap", cluster.settings.bootstrap, "--app-id", cluster.name]
    done = subprocess.run(
        [*command, *topics, *flags], env=os.environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout + done.stderr


def kept(cluster, names):
    """Those of the names that a task's state has among its bytes."""
    states = [live_pairs(cluster.settings, topic) for topic in (JOIN_CHANGELOG, MONITOR_CHANGELOG)]
    pairs = [key + value for state in states for held in state.values() for key, value in held.items()]
    return {name for name in names if any(name.encode() in pair for pair in pairs)}


def test_forgotten_by_two_workers_of_which_one_is_killed(cluster, tmp_path):
    events, end = traffic(41, 1500)
    events = [(topic, re.sub(rb'"request_id": "r(\d+)"', rb'"request_id": "request-\1-"', value)) for topic, value in events]
    refused = json.dumps({"request_id": "request-7-", "ts": 5}).encode()
    workers = {index: cluster.start(index) for index in (0, 1)}
    cluster.send([*events, (PREDICTIONS, refused), *end])
    count = sum(topic == PREDICTIONS for topic, _ in events)
    cluster.wait_for_predictions(count, "1m")
    fired = [event["data"]["evidence"]["request_ids"] for event in cluster.alerts()]
    shown = sorted({name for names in fired for name in names})
    assert shown
    asked = ["request-7-", "request-8-", *shown]
    assert kept(cluster, asked) == set(asked)

    listed = tmp_path / "ids"
    listed.write_text("\n".join(asked[1:]))
    assert forget(cluster, asked[0]) == (1, "tidegauge: there is nobody to ask; say --yes\ntidegauge: nothing was changed\n")
    workers[0].kill()
    status, said = forget(cluster, asked[0], "--from", str(listed), "--yes")
    assert status == 0, said
    assert not [name for name in asked if name in said]
    cluster.start(0)
    deadline = time.monotonic() + 90
    while (left := kept(cluster, asked)) and time.monotonic() < deadline:
        time.sleep(1)
    assert not left

    # What comes later under their ids is left out; the numbers are those of the same events in files.
    tombstones = [record.value for record in cluster.read(LABELS) if b'"forget"' in record.value]
    again = [value for topic, value in events if topic == PREDICTIONS and json.loads(value)["request_id"] in asked]
    cluster.send([(PREDICTIONS, value) for value in again])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(again) > sum(
        float(line.split()[-1])
        for port in cluster.ports for line in cluster.scrape(port).splitlines()
        if line.startswith('tidegauge_forgotten_total{what="predictions"}')
    ):  # fmt: skip
        time.sleep(1)
    assert not kept(cluster, asked)
    expected = replayed([*events, *end, *((LABELS, value) for value in tombstones)], tmp_path)
    assert_same(cluster.wait_for_predictions(count, "1m"), expected)

    # Who did it is audited, and the console shows none of them.
    entries = [json.loads(record.value) for record in cluster.read(AUDIT)]
    assert {entry["target"] for entry in entries} == {digest_of(name).hex() for name in asked}
    view = View()
    for record in cluster.read(ALERTS):
        view.take(ALERTS, [record])
    for topic in (DEAD_LETTERS, OPERATIONS):
        view.take(topic, cluster.read(topic))
    assert all(not mistakes("operation", json.loads(record.value)) for record in cluster.read(OPERATIONS))
    pages = [event for alert in view.alerts.all() for event in view.alerts.transitions(alert["data"]["fingerprint"])]
    assert pages
    assert not [name for name in asked if name in json.dumps([*pages, *view.alerts.all()])]
    assert view.letters.counts["missing_member"] == 1
    assert view.letters.samples("missing_member") == []
