"""A state directory that another application has used before: nothing of its state is taken over."""

import random

import pytest

from support.cluster import Cluster
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.stage import PREDICTIONS
from tidegauge.stream.store import ORIGIN


@pytest.fixture
def clusters(broker, tmp_path):
    made = [Cluster(broker, f"directory-{random.randrange(10**6)}", tmp_path) for _ in range(2)]
    for cluster in made:
        cluster.apply(RECORD)
    yield made
    for cluster in made:
        cluster.stop()


def predicted(events):
    return sum(topic == PREDICTIONS for topic, _ in events)


def test_state_of_another_application_is_not_taken_over(clusters, tmp_path):
    other, own = clusters
    before, _ = traffic(61, 300)
    events, end = traffic(62, 900)
    half = len(events) // 2
    # The own changelog grows beyond where the other application's state is, so that its position says nothing.
    own.send(events[:half])
    own.start(1)
    own.wait_for_predictions(1, "1m")
    own.stop()
    other.send(before)
    other.start(0)
    other.wait_for_predictions(1, "1m")
    other.stop()
    own.start(0)
    own.send(events[half:] + end)
    found = own.wait_for_predictions(predicted(events), "1m")
    assert_same(found, replayed(events + end, tmp_path))
    assert f"holds state of {other.name}-" in own.log()
    assert all(own.name in note.read_text() for note in tmp_path.rglob(ORIGIN))
