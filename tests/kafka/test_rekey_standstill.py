"""Partitions of re-keying that nobody processes show on every worker that lives, before the alert is due."""

import random
import re
import time
from collections import deque
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.servers import wait_for
from support.topics import made
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import LABELS, PREDICTIONS
from tidegauge.stream.broker import Broker

SAMPLE = re.compile(r'tidegauge_standstill_seconds\{.*stage="(?P<stage>[^"]+)".*\} (?P<seconds>\S+)')


@pytest.fixture
def cluster(broker: Broker, tmp_path: Path):
    found = Cluster(broker, f"rekey-still-{random.randrange(10**6)}", tmp_path)
    for topic, partitions in {PREDICTIONS: 4, LABELS: 4}.items():
        made(broker, found.settings.topic(topic), partitions=partitions)
    found.apply(RECORD)
    yield found
    found.stop()


def standing(cluster: Cluster) -> dict[str, float]:
    """By stage for how many seconds one of its partitions has stood still, as the first worker says."""
    found = SAMPLE.finditer(cluster.scrape(cluster.ports[0]))
    longest: dict[str, float] = {}
    for sample in found:
        longest[sample["stage"]] = max(float(sample["seconds"]), longest.get(sample["stage"], 0.0))
    return longest


@pytest.mark.long
@pytest.mark.timeout(600)
def test_partitions_of_re_keying_that_stand_still_show_within_a_minute(cluster: Cluster, tmp_path: Path) -> None:
    """A worker hangs in the transaction of a task, its heartbeat goes on: the group would leave it its partitions for ever."""
    events, end = traffic(23, 2000)
    alive = cluster.start(0, "--rekey")
    cluster.send(events[:200])
    wait_for(lambda: bool(cluster.read("tidegauge-profiles")), 60, "a first commit")
    hanging = cluster.start(1, "--rekey", "--stall-timeout", "25", TIDEGAUGE_HANG="before-commit:1")
    coming, seen = deque(events[200:]), {}
    while hanging.poll() is None:
        cluster.send([coming.popleft() for _ in range(min(40, len(coming)))])
        for stage, seconds in standing(cluster).items():
            seen[stage] = max(seen.get(stage, 0.0), seconds)
        time.sleep(1)
    rekeying = [seconds for stage, seconds in seen.items() if stage.startswith("rekey-")]
    assert rekeying, seen
    assert 6 <= max(rekeying) < 60, "the other worker has shown it, and it ended before a minute was over"
    cluster.send([*coming, *end])
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m", 120), replayed(events + end, tmp_path))
    assert alive.poll() is None
    wait_for(lambda: not standing(cluster), 60, "an end of the standstill")
