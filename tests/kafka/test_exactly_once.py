"""kill -9 at random moments and between the steps of a checkpoint, a broker restart, rebalances: at the end the numbers are
those of `replay` to the last count, and each alert's transitions stand in the topic once."""

import json
import random
import signal
import time
from collections import Counter

import pytest
from cluster import Cluster

from driver import flatten, numbers
from events import START, prediction, stream
from tidegauge.engine.stage import LABELS, METRICS, PREDICTIONS
from tidegauge.models.registry import ModelRecord, Registry, encode
from tidegauge.offline.replay import Lines, Replay
from tidegauge.spec import Condition, DetectorSpec, ModelSpec, MonitorSpec

SPEC = ModelSpec(
    "churn",
    task="binary",
    segments=(("region",),),
    windows=("1m", "5m"),
    grace=1.0,
    publish_interval=30.0,
    monitors=(
        MonitorSpec("errors", "system.error_ratio", "1m", Condition("above", high=0.3), min_count=20),
        MonitorSpec("auc", "performance.roc_auc", "5m", Condition("below", low=0.6), min_count=20),
    ),
    detectors=(DetectorSpec("shift", "error", "adwin"),),
)
POINTS = ("before-transaction", "mid-transaction", "before-commit", "after-commit", "after-local-write", "mid-restore")
RECORD = ModelRecord("churn", SPEC)
EXACT = ("predictions", "labels", "performance.", "business.", "count", "_ratio", "psi", "min", "max", "coverage")


def traffic(seed, count):
    """Ten minutes of events with two minutes of errors, and an end that closes every window before it."""
    events = []
    for topic, value in stream(seed, count):
        event = json.loads(value)
        if topic == PREDICTIONS and START + 180 <= event["ts"] < START + 300:
            event |= {"error": "out of memory"}
        events.append((topic, json.dumps(event).encode()))
    end = [(PREDICTIONS, json.dumps(prediction(10**6 + i, START + 7200, score=0.5, prediction=1)).encode()) for i in range(64)]
    return events, end


def replayed(events, tmp_path):
    """The final records of the same events by `replay`."""
    paths = {}
    for topic in (PREDICTIONS, LABELS):
        paths[topic] = tmp_path / f"{topic}.jsonl"
        paths[topic].write_bytes(b"".join(value + b"\n" for kind, value in events if kind == topic))
    registry = Registry()
    registry.apply(b"churn", encode(RECORD))
    found = {}

    def sink(output):
        if output.topic == METRICS:
            found[output.key] = json.loads(output.value)

    Replay(registry, sink).run(Lines(paths[PREDICTIONS]), Lines(paths[LABELS]))
    return found


def assert_same(found, expected):
    """Equal to the last count; sums of floats to rounding, sketches within their rank error where they are one."""
    last = {key for key, record in expected.items() if record["window_start"] >= "2025-09-27T02:00:00Z"}
    assert found.keys() - last == expected.keys() - last
    for key in expected.keys() - last:
        mine, theirs = flatten(numbers(found[key])), flatten(numbers(expected[key]))
        assert mine.keys() == theirs.keys(), key
        for path, value in theirs.items():
            if any(part in path for part in EXACT):
                assert (
                    mine[path] == pytest.approx(value, rel=1e-9, abs=1e-9)
                    if isinstance(value, float)
                    else (mine[path] == value)
                ), (key, path, mine[path], value)


def assert_alternating(alerts):
    """Each alert: firing, resolved, firing ... with ids that are never repeated."""
    ids = Counter(alert["id"] for alert in alerts)
    assert all(count == 1 for count in ids.values())
    states = {}
    for alert in alerts:
        data = alert["data"]
        assert states.get(data["fingerprint"], "resolved") != data["status"], alert
        states[data["fingerprint"]] = data["status"]
    return states


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
    workers = {index: cluster.start(index, TIDEGAUGE_CRASH=plan) for index in (0, 1)}
    deaths = 0
    step = len(events) // 20
    for part in range(20):
        cluster.send(events[part * step : (part + 1) * step if part < 19 else None])
        # On a slow machine a worker may take long to come back: give it time to die again, without waiting for ever.
        for _ in range(20):
            time.sleep(0.7)
            for index, worker in workers.items():
                if worker.poll() is not None:
                    assert worker.returncode == -signal.SIGKILL, cluster.log()[-3000:]
                    deaths += 1
                    workers[index] = cluster.start(index, TIDEGAUGE_CRASH=plan)
            if deaths >= part // 4:
                break
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
    assert sorted(letter.value for letter in letters) == sorted(bad)
    assert all({"reason", "topic", "partition", "offset"} <= dict(letter.headers).keys() for letter in letters)
    assert worker.poll() is None
