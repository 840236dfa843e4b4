"""kill -9 at random moments and between the steps of a checkpoint, a broker restart, rebalances: at the end the numbers are
those of `replay` to the last count, and each alert's transitions stand in the topic once."""

import random
import time

import pytest

from support.alternation import assert_alternating
from support.cluster import Cluster
from support.events import stream
from support.traffic import RECORD, assert_same, replayed, traffic
from tidegauge.engine.refusals import MAX_VALUE_BYTES
from tidegauge.engine.stage import PREDICTIONS

POINTS = ("before-transaction", "mid-transaction", "before-commit", "after-commit", "after-local-write", "mid-restore")


@pytest.fixture
def cluster(broker, tmp_path, request):
    made = Cluster(broker, f"{request.node.name[5:25]}-{random.randrange(10**6)}", tmp_path)
    made.apply(RECORD)
    yield made
    made.stop()


def test_undisturbed_equals_replay(cluster, tmp_path):
    events, end = traffic(1, 2000)
    cluster.start(0)
    cluster.send(events + end)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m"), replayed(events + end, tmp_path))
    states = assert_alternating(cluster.alerts())
    assert states
    assert cluster.stop() == [0]


def test_kills_between_the_steps_of_a_checkpoint(cluster, tmp_path):
    """Two workers that kill -9 themselves at named points of the protocol, over and over, while traffic flows."""
    events, end = traffic(2, 4000)
    plan = ",".join(
        f"{point}:0.12"
        for point in (
            "before-transaction",
            "mid-transaction",
            "before-commit",
            "after-commit",
            "after-local-write",
            "mid-restore",
        )
    )

    def start(index):
        return cluster.start(index, TIDEGAUGE_CRASH=plan)

    workers = {index: start(index) for index in (0, 1)}
    deaths = 0
    step = len(events) // 20
    for part in range(20):
        cluster.send(events[part * step : (part + 1) * step if part < 19 else None])
        deaths += cluster.start_killed(workers, start, part // 4 - deaths)
    assert deaths >= 3
    for index, worker in workers.items():
        worker.kill()
        worker.wait()
        cluster.start(index)
    cluster.send(end)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m"), replayed(events + end, tmp_path))
    assert_alternating(cluster.alerts())


def test_random_kills_lost_disks_and_rebalances(cluster, tmp_path):
    """kill -9 at any moment; a worker comes back with its disk or, having lost it, with an empty one; another joins."""
    rng = random.Random(3)
    events, end = traffic(3, 4000)
    workers = {0: cluster.start(0)}
    step = len(events) // 8
    for part in range(8):
        cluster.send(events[part * step : (part + 1) * step if part < 7 else None], pause=0.05, step=200)
        if part == 2:
            workers[1] = cluster.start(1)
        if part in (1, 4, 6):
            index = rng.choice(list(workers))
            time.sleep(rng.random() * 2)
            workers[index].kill()
            workers[index].wait()
            # Index 2 and up have never had a disk: what they know they restore from the changelog alone.
            workers[index] = cluster.start(index if part != 4 else 2 + index)
        time.sleep(1)
    cluster.send(end)
    count = sum(topic == PREDICTIONS for topic, _ in events)
    assert_same(cluster.wait_for_predictions(count, "1m"), replayed(events + end, tmp_path))
    assert_alternating(cluster.alerts())


def test_all_records_are_accounted_for_and_no_worker_dies(cluster):
    good = [value for topic, value in stream(4, 300) if topic == PREDICTIONS]
    bad = [b"{", b"[" * 100_000, b"\xff\xfe", b'{"request_id": "a"}', b"x" * (9 << 20), b'{"request_id": 1, "ts": 1}']
    worker = cluster.start(0)
    cluster.send([(PREDICTIONS, value) for value in good + bad])
    deadline = time.monotonic() + 60
    while len(cluster.read("dead-letters")) < len(bad) and time.monotonic() < deadline:
        time.sleep(1)
    letters = cluster.read("dead-letters")
    assert sorted(letter.value for letter in letters) == sorted(value[:MAX_VALUE_BYTES] for value in bad)
    assert all({"reason", "topic", "partition", "offset"} <= dict(letter.headers).keys() for letter in letters)
    assert worker.poll() is None
